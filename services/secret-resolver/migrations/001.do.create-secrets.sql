-- The schema may have been made, and given to this role, by whoever set the database up.
do $$
begin
  if not exists (select from pg_namespace where nspname = 'secrets') then
    create schema secrets;
  end if;
end
$$;

-- One row a version. A version that is no longer in force stays as a tombstone without its key and its content.
create table secrets.resource_secrets (
  secret_ref text not null,
  organization_id uuid not null,
  resource_id uuid not null,
  version integer not null,
  -- The encrypted payload with its 16-byte tag; the data key that it is encrypted with is wrapped in wrapped_data_key.
  ciphertext bytea not null,
  nonce bytea not null,
  key_id text not null,
  algorithm text not null,
  wrapped_data_key bytea not null,
  metadata jsonb not null default '{}',
  payload_sha256 text not null,
  created_at timestamptz not null default now(),
  created_by uuid not null,
  destroyed_at timestamptz,
  constraint resource_secrets_pkey primary key (secret_ref, version),
  constraint resource_secrets_ref_names_row check (
    secret_ref = 'rap-secret://org/' || organization_id::text || '/resources/' || resource_id::text || '/rdp-primary'
  ),
  constraint resource_secrets_version_positive check (version >= 1),
  constraint resource_secrets_nonce_96_bits check (octet_length(nonce) = 12),
  constraint resource_secrets_key_id_bounded check (length(key_id) between 1 and 128),
  constraint resource_secrets_algorithm_known check (algorithm = 'AES-256-GCM'),
  constraint resource_secrets_metadata_object check (jsonb_typeof(metadata) = 'object'),
  constraint resource_secrets_sha256_form check (payload_sha256 ~ '^[0-9a-f]{64}$'),
  constraint resource_secrets_destroyed_is_erased check (
    case
      when destroyed_at is null then octet_length(ciphertext) > 16 and octet_length(wrapped_data_key) > 0
      else octet_length(ciphertext) = 0 and octet_length(wrapped_data_key) = 0
    end
  )
);

create unique index resource_secrets_one_live on secrets.resource_secrets (secret_ref) where destroyed_at is null;
create index resource_secrets_live_key_id on secrets.resource_secrets (key_id) where destroyed_at is null;

-- Erased content is a dead row until vacuum takes it, so vacuum does not wait for a fifth of the table to change.
alter table secrets.resource_secrets set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1);

-- The key pairs that clients seal payloads to. The public half is derived from the private one: a public key that
-- somebody wrote into a column would be a way to read the next secret.
create table secrets.sealing_keys (
  kid text not null,
  wrapped_private_key bytea not null,
  key_id text not null,
  created_at timestamptz not null,
  superseded_at timestamptz,
  destroyed_at timestamptz,
  constraint sealing_keys_pkey primary key (kid),
  constraint sealing_keys_kid_form check (kid ~ '^[A-Za-z0-9_-]{43}$'),
  constraint sealing_keys_key_id_bounded check (length(key_id) between 1 and 128),
  constraint sealing_keys_destroyed_was_superseded check (destroyed_at is null or superseded_at is not null),
  constraint sealing_keys_destroyed_is_erased check ((destroyed_at is null) = (octet_length(wrapped_private_key) > 0))
);

create unique index sealing_keys_one_active on secrets.sealing_keys ((true)) where superseded_at is null;

-- Lease tokens that were used. A row goes some time after its token has expired.
create table secrets.lease_token_jtis (
  jti text not null,
  lease_id uuid not null,
  worker_id uuid not null,
  used_at timestamptz not null default now(),
  expires_at timestamptz not null,
  constraint lease_token_jtis_pkey primary key (jti),
  constraint lease_token_jtis_jti_bounded check (length(jti) between 16 and 64)
);

create index lease_token_jtis_expires_at on secrets.lease_token_jtis (expires_at);

revoke all on schema secrets from public;
revoke all on all tables in schema secrets from public;
