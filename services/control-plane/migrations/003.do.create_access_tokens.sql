-- One log-in is one family. INVARIANT: only SHA-256 digests of tokens are stored.

create table rap.token_families (
  id uuid constraint token_families_pkey primary key default gen_random_uuid(),
  user_id uuid not null constraint token_families_user_fkey references rap.users (id) on delete cascade,
  created_at timestamptz not null default now(),
  -- No rotation moves this: after it, the person logs in again.
  expires_at timestamptz not null,
  revoked_at timestamptz,
  revoked_reason text constraint token_families_reason_known
    check (revoked_reason in ('logout', 'refresh_token_reused', 'password_changed')),
  constraint token_families_id_user_key unique (id, user_id),
  constraint token_families_lifetime check (expires_at > created_at),
  constraint token_families_revoked_with_reason check ((revoked_at is null) = (revoked_reason is null))
);

create index token_families_user_id on rap.token_families (user_id);
create index token_families_expires_at on rap.token_families (expires_at);
create trigger token_families_keep_columns before update on rap.token_families
  for each row execute function rap.keep_columns('id', 'user_id', 'created_at', 'expires_at');

create table rap.refresh_tokens (
  token_hash bytea constraint refresh_tokens_pkey primary key
    constraint refresh_tokens_hash_length check (octet_length(token_hash) = 32),
  family_id uuid not null constraint refresh_tokens_family_fkey references rap.token_families (id) on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  -- A second use after this one revokes the family (RFC 9700 §4.14.2).
  used_at timestamptz
);

create index refresh_tokens_family_id on rap.refresh_tokens (family_id);
create trigger refresh_tokens_keep_columns before update on rap.refresh_tokens
  for each row execute function rap.keep_columns('token_hash', 'family_id', 'created_at', 'expires_at');

create table rap.access_tokens (
  token_hash bytea constraint access_tokens_pkey primary key
    constraint access_tokens_hash_length check (octet_length(token_hash) = 32),
  family_id uuid not null,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  constraint access_tokens_family_fkey foreign key (family_id, user_id)
    references rap.token_families (id, user_id) on delete cascade
);

create index access_tokens_family_id on rap.access_tokens (family_id);
create index access_tokens_expires_at on rap.access_tokens (expires_at);
create trigger access_tokens_written_once before update on rap.access_tokens
  for each row execute function rap.refuse_change();
