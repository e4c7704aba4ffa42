-- What may happen once.

-- INVARIANT: a data-plane token binds once, on any worker, across restarts of anything.
create table rap.data_plane_token_jtis (
  jti text constraint data_plane_token_jtis_pkey primary key
    constraint data_plane_token_jtis_length check (char_length(jti) between 16 and 64),
  attachment_id uuid not null
    constraint data_plane_token_jtis_attachment_fkey references rap.session_attachments (id),
  -- The proof that came with it, for the record.
  proof_jti text not null constraint data_plane_token_jtis_proof_length check (char_length(proof_jti) between 1 and 64),
  exp timestamptz not null,
  created_at timestamptz not null default now()
);

create index data_plane_token_jtis_exp on rap.data_plane_token_jtis (exp);
create trigger data_plane_token_jtis_written_once before update on rap.data_plane_token_jtis
  for each row execute function rap.refuse_change();

-- An Idempotency-Key points at what it made; the answer is rendered again from there, so no token is kept.
create table rap.idempotency_keys (
  user_id uuid not null constraint idempotency_keys_user_fkey references rap.users (id) on delete cascade,
  operation text not null constraint idempotency_keys_operation_known check (operation in ('session_start')),
  key text not null constraint idempotency_keys_key_length check (char_length(key) between 1 and 128),
  request_hash bytea not null constraint idempotency_keys_hash_length check (octet_length(request_hash) = 32),
  attachment_id uuid not null
    constraint idempotency_keys_attachment_fkey references rap.session_attachments (id),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  constraint idempotency_keys_pkey primary key (user_id, operation, key)
);

create index idempotency_keys_expires_at on rap.idempotency_keys (expires_at);
create trigger idempotency_keys_written_once before update on rap.idempotency_keys
  for each row execute function rap.refuse_change();
