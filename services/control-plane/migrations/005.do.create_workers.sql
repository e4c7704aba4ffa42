-- Workers are known by the UUID in their certificate. What they say of themselves arrives over mutual TLS and is kept
-- here, because Redis, where they report their load, is not trusted with addresses.

create table rap.workers (
  id uuid constraint workers_pkey primary key,
  name text not null constraint workers_name_length check (char_length(name) between 1 and 200),
  labels jsonb not null default '{}'
    constraint workers_labels_bound check (jsonb_typeof(labels) = 'object' and octet_length(labels::text) <= 8192),
  public_url text not null
    constraint workers_public_url_form check (char_length(public_url) <= 512 and public_url ~ '^wss://[^[:space:]?#]+$'),
  -- RFC 8705 x5t#S256 of the certificate of the last announcement: lease tokens are bound to it.
  certificate_thumbprint text not null
    constraint workers_thumbprint_form check (certificate_thumbprint ~ '^[A-Za-z0-9_-]{43}$'),
  version text not null default '' constraint workers_version_length check (char_length(version) <= 100),
  state text not null default 'active' constraint workers_state_known check (state in ('active', 'revoked')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  announced_at timestamptz not null default now(),
  revoked_at timestamptz,
  revoked_by uuid constraint workers_revoked_by_fkey references rap.users (id),
  constraint workers_revoked_with_time check ((state = 'revoked') = (revoked_at is not null))
);

create function rap.keep_revoked_worker() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.state = 'revoked' then
    raise exception 'a revoked worker does not change' using errcode = 'check_violation', constraint = tg_name;
  end if;
  return new;
end
$$;

create trigger workers_keep_columns before update on rap.workers
  for each row execute function rap.keep_columns('id', 'created_at');
create trigger workers_keep_revoked before update on rap.workers
  for each row execute function rap.keep_revoked_worker();
create trigger workers_touch before update on rap.workers
  for each row execute function rap.touch_updated_at();
