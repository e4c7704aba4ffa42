-- Resources are targets. INVARIANT: secret_ref is the one reference that fits the row, or null while it has no secret.

create table rap.resources (
  id uuid constraint resources_pkey primary key default gen_random_uuid(),
  organization_id uuid not null constraint resources_organization_fkey references rap.organizations (id),
  name text not null constraint resources_name_length check (char_length(name) between 1 and 200),
  protocol text not null constraint resources_protocol_known check (protocol in ('rdp')),
  address text not null constraint resources_address_length check (char_length(address) between 3 and 300),
  secret_ref text constraint resources_secret_ref_own check (
    secret_ref = 'rap-secret://org/' || organization_id::text || '/resources/' || id::text || '/rdp-primary'
  ),
  metadata jsonb not null default '{}'
    constraint resources_metadata_bound check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 16384),
  labels jsonb not null default '{}'
    constraint resources_labels_bound check (jsonb_typeof(labels) = 'object' and octet_length(labels::text) <= 8192),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  -- Other tables point at both columns, so that no row of one tenant can name a resource of another.
  constraint resources_organization_id_key unique (organization_id, id),
  constraint resources_deleted_without_secret check (deleted_at is null or secret_ref is null)
);

create index resources_page on rap.resources (organization_id, created_at, id) where deleted_at is null;
create trigger resources_keep_columns before update on rap.resources
  for each row execute function rap.keep_columns('id', 'organization_id', 'protocol', 'created_at');
create trigger resources_touch before update on rap.resources
  for each row execute function rap.touch_updated_at();
