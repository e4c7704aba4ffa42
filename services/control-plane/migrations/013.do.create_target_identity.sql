-- What targets show, and what is accepted of them. One row a resource, with the alarm and the authority that is its own.

create table rap.target_identities (
  resource_id uuid constraint target_identities_pkey primary key,
  organization_id uuid not null,
  -- The certificate that raised the alarm; no session starts until somebody has decided about it.
  alarm_fingerprint text constraint target_identities_alarm_form check (alarm_fingerprint ~ '^[0-9a-f]{64}$'),
  alarm_code text constraint target_identities_alarm_code_form check (alarm_code ~ '^ERR_[A-Z0-9_]{1,80}$'),
  alarm_since timestamptz,
  -- Base64 DER of the authorities that alone count in mode strict.
  authorities text[] constraint target_identities_authorities_bound
    check (cardinality(authorities) between 1 and 3 and octet_length(array_to_string(authorities, '')) <= 8192),
  authorities_by uuid constraint target_identities_authorities_by_fkey references rap.users (id),
  authorities_at timestamptz,
  -- Certificates that were seen and are no longer kept.
  forgotten_count bigint not null default 0,
  constraint target_identities_resource_fkey foreign key (organization_id, resource_id)
    references rap.resources (organization_id, id),
  constraint target_identities_alarm_whole check (
    (alarm_fingerprint is null) = (alarm_since is null) and (alarm_fingerprint is null) = (alarm_code is null)),
  constraint target_identities_authorities_whole check ((authorities is null) = (authorities_at is null))
);
create trigger target_identities_keep_columns before update on rap.target_identities
  for each row execute function rap.keep_columns('resource_id', 'organization_id');

-- Certificates as workers saw them. An impostor may show endless ones, so src/targets/storage.ts keeps the newest.
create table rap.target_certificates (
  resource_id uuid not null constraint target_certificates_identity_fkey references rap.target_identities (resource_id),
  fingerprint_sha256 text not null
    constraint target_certificates_fingerprint_form check (fingerprint_sha256 ~ '^[0-9a-f]{64}$'),
  spki_sha256 text not null constraint target_certificates_spki_form check (spki_sha256 ~ '^[0-9a-f]{64}$'),
  subject text not null constraint target_certificates_subject_bound check (char_length(subject) <= 512),
  issuer text not null constraint target_certificates_issuer_bound check (char_length(issuer) <= 512),
  names text[] not null constraint target_certificates_names_bound
    check (cardinality(names) <= 32 and octet_length(array_to_string(names, '')) <= 8192),
  not_before timestamptz not null,
  not_after timestamptz not null,
  -- Base64 DER, the leaf first.
  chain text[] not null constraint target_certificates_chain_bound check (
    cardinality(chain) between 1 and 6 and octet_length(array_to_string(chain, '')) <= 57344),
  -- Where the target was when it showed this, as the resource named it.
  address text not null constraint target_certificates_address_bound check (char_length(address) <= 300),
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  times_seen bigint not null default 1,
  worker_id uuid not null constraint target_certificates_worker_fkey references rap.workers (id),
  attachment_id uuid not null,
  -- The last time that the rule of then accepted it, and why it was refused the last time it was.
  accepted_at timestamptz,
  refused_code text constraint target_certificates_refused_code_form check (refused_code ~ '^ERR_[A-Z0-9_]{1,80}$'),
  constraint target_certificates_pkey primary key (resource_id, fingerprint_sha256)
);
create index target_certificates_newest on rap.target_certificates (resource_id, last_seen_at desc);

-- What an operator decided about a certificate or a public key.
create table rap.target_pins (
  resource_id uuid not null constraint target_pins_identity_fkey references rap.target_identities (resource_id),
  kind text not null constraint target_pins_kind_known check (kind in ('certificate', 'public_key')),
  sha256 text not null constraint target_pins_sha256_form check (sha256 ~ '^[0-9a-f]{64}$'),
  -- `approved` is accepted; `staged` too, and becomes the approved one when it shows up; `rejected` is refused in every mode; `retired` was approved.
  state text not null constraint target_pins_state_known check (state in ('approved', 'staged', 'rejected', 'retired')),
  -- A staged pin retires the others when it shows up, unless this says no: several hosts may stand behind one address.
  keeps_others boolean not null default false,
  created_at timestamptz not null default now(),
  decided_at timestamptz not null default now(),
  -- Null where it changed by itself: a staged pin that showed up.
  decided_by uuid constraint target_pins_decided_by_fkey references rap.users (id),
  constraint target_pins_pkey primary key (resource_id, kind, sha256)
);
