-- The platform CA, its trust bundles, and the register of whom it issues certificates to.

create table rap.platform_authorities (
  generation integer constraint platform_authorities_pkey primary key
    constraint platform_authorities_generation_positive check (generation between 1 and 100000),
  -- `staged` is published and issues nothing, `active` issues, `superseded` is still published, `retired` no more.
  state text not null constraint platform_authorities_state_known check (state in ('staged', 'active', 'superseded', 'retired')),
  root_certificate text not null constraint platform_authorities_root_bound check (octet_length(root_certificate) <= 16384),
  -- What the key provider needs to open the root's key; null where it is kept elsewhere.
  root_wrapped_key jsonb constraint platform_authorities_root_key_bound check (octet_length(root_wrapped_key::text) <= 32768),
  intermediate_certificate text not null
    constraint platform_authorities_intermediate_bound check (octet_length(intermediate_certificate) <= 16384),
  intermediate_wrapped_key jsonb
    constraint platform_authorities_intermediate_key_bound check (octet_length(intermediate_wrapped_key::text) <= 32768),
  -- The root's key, certified by the root before it: for peers that know only that one.
  cross_certificate text constraint platform_authorities_cross_bound check (octet_length(cross_certificate) <= 16384),
  created_at timestamptz not null default now(),
  activated_at timestamptz,
  retired_at timestamptz,
  constraint platform_authorities_key_until_retired check ((state = 'retired') = (intermediate_wrapped_key is null)),
  constraint platform_authorities_retired_with_time check ((state = 'retired') = (retired_at is not null))
);

-- INVARIANT: one generation issues, and at most one waits.
create unique index platform_authorities_one_active on rap.platform_authorities (state) where state = 'active';
create unique index platform_authorities_one_staged on rap.platform_authorities (state) where state = 'staged';
create trigger platform_authorities_keep_columns before update on rap.platform_authorities
  for each row execute function rap.keep_columns('generation', 'root_certificate', 'cross_certificate', 'created_at');

-- Written once: a client may have stepped over any of them.
create table rap.trust_bundles (
  version integer constraint trust_bundles_pkey primary key
    constraint trust_bundles_version_positive check (version between 1 and 100000),
  ref text not null constraint trust_bundles_ref_key unique
    constraint trust_bundles_ref_form check (ref ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,95}:v[1-9][0-9]{0,5}$'),
  certificates text not null constraint trust_bundles_certificates_bound check (octet_length(certificates) <= 262144),
  -- Base64url of SHA-256 over the payload of `signed`.
  sha256 text not null constraint trust_bundles_sha256_form check (sha256 ~ '^[A-Za-z0-9_-]{43}$'),
  signed jsonb not null constraint trust_bundles_signed_bound check (octet_length(signed::text) <= 524288),
  created_at timestamptz not null default now()
);
create trigger trust_bundles_written_once before update or delete on rap.trust_bundles
  for each row execute function rap.refuse_change();

create function rap.are_names(names text[], longest integer) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select cardinality(names) <= 32 and not exists (
    select from unnest(names) as name where name is null or char_length(name) not between 1 and longest or name ~ '[[:space:]]')
$$;

-- Who may hold a certificate, with the names that an administrator registered.
create table rap.identities (
  kind text not null constraint identities_kind_known check (kind in ('worker', 'service')),
  id text not null constraint identities_id_form check (id ~ '^[A-Za-z0-9._-]{1,128}$'),
  name text not null constraint identities_name_length check (char_length(name) between 1 and 200),
  dns_names text[] not null default '{}' constraint identities_dns_names_bound check (rap.are_names(dns_names, 253)),
  ip_addresses text[] not null default '{}' constraint identities_ip_addresses_bound check (rap.are_names(ip_addresses, 45)),
  labels jsonb not null default '{}'
    constraint identities_labels_bound check (jsonb_typeof(labels) = 'object' and octet_length(labels::text) <= 8192),
  state text not null default 'active' constraint identities_state_known check (state in ('active', 'revoked')),
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  revoked_by uuid constraint identities_revoked_by_fkey references rap.users (id),
  constraint identities_pkey primary key (kind, id),
  constraint identities_worker_id_form check (kind <> 'worker' or id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'),
  constraint identities_revoked_with_time check ((state = 'revoked') = (revoked_at is not null))
);
create trigger identities_keep_columns before update on rap.identities
  for each row execute function rap.keep_columns('kind', 'id', 'created_at');
-- A revoked worker stays revoked; a revoked service may be registered again by the owner of the platform.
create trigger identities_keep_revoked before update on rap.identities
  for each row when (old.kind = 'worker') execute function rap.keep_revoked_worker();

create table rap.join_tokens (
  id uuid constraint join_tokens_pkey primary key,
  -- SHA-256 of 256 random bits: nothing to guess, so no salt and no work factor.
  secret_sha256 bytea not null constraint join_tokens_secret_length check (octet_length(secret_sha256) = 32),
  kind text not null,
  identity_id text not null,
  created_by uuid constraint join_tokens_created_by_fkey references rap.users (id),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  -- SHA-256 of the SubjectPublicKeyInfo that it was used with: the same key may ask again for a while.
  used_key_sha256 text constraint join_tokens_used_key_form check (used_key_sha256 ~ '^[A-Za-z0-9_-]{43}$'),
  deleted_at timestamptz,
  constraint join_tokens_identity_fkey foreign key (kind, identity_id) references rap.identities (kind, id),
  constraint join_tokens_life check (expires_at > created_at and expires_at <= created_at + interval '7 days 1 minute'),
  constraint join_tokens_used_with_key check ((used_at is null) = (used_key_sha256 is null))
);
create index join_tokens_identity on rap.join_tokens (kind, identity_id);
create trigger join_tokens_keep_columns before update on rap.join_tokens
  for each row execute function rap.keep_columns('id', 'secret_sha256', 'kind', 'identity_id', 'created_at', 'expires_at');

create table rap.issued_certificates (
  -- As it stands in the certificate, lower-case hexadecimal.
  serial text constraint issued_certificates_pkey primary key
    constraint issued_certificates_serial_form check (serial ~ '^[0-9a-f]{1,40}$'),
  kind text not null,
  identity_id text not null,
  generation integer not null constraint issued_certificates_generation_fkey references rap.platform_authorities (generation),
  -- RFC 8705 x5t#S256.
  thumbprint text not null constraint issued_certificates_thumbprint_key unique
    constraint issued_certificates_thumbprint_form check (thumbprint ~ '^[A-Za-z0-9_-]{43}$'),
  reason text not null constraint issued_certificates_reason_known check (reason in ('enrolment', 'renewal', 'operator')),
  not_before timestamptz not null,
  not_after timestamptz not null,
  issued_at timestamptz not null default now(),
  -- By a renewal: its owner stands on the next one.
  replaced_at timestamptz,
  revoked_at timestamptz,
  constraint issued_certificates_identity_fkey foreign key (kind, identity_id) references rap.identities (kind, id),
  constraint issued_certificates_validity check (not_before < not_after)
);
create index issued_certificates_identity on rap.issued_certificates (kind, identity_id, not_after);
create index issued_certificates_generation on rap.issued_certificates (generation, not_after);
create index issued_certificates_revoked on rap.issued_certificates (not_after) where revoked_at is not null;
create trigger issued_certificates_keep_columns before update on rap.issued_certificates
  for each row execute function rap.keep_columns('serial', 'kind', 'identity_id', 'thumbprint', 'not_after', 'issued_at');

-- Everything that is refused although its certificate is valid, for services that check their peers: whole identities,
-- and single certificates (thumbprint not null) for as long as they would be valid.
create view rap.revocations as
  select kind, id, null::text as thumbprint from rap.identities where state = 'revoked'
  union
  select 'worker', id::text, null from rap.workers where state = 'revoked'
  union all
  select kind, identity_id, thumbprint from rap.issued_certificates where revoked_at is not null and not_after > now();

-- Beside what 010 grants: who is revoked.
create or replace function rap.grant_secret_resolver() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from pg_roles where rolname = 'rap_secret_resolver') then
    return false;
  end if;
  grant usage on schema rap to rap_secret_resolver;
  grant select on rap.resources, rap.remote_sessions, rap.session_attachments, rap.workers, rap.revocations to rap_secret_resolver;
  grant execute on function rap.append_audit_event(jsonb) to rap_secret_resolver;
  return true;
end
$$;
