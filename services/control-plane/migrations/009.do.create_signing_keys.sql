-- Signing keys of data-plane, lease and assignment tokens. The private half is wrapped by the key provider.

create table rap.signing_keys (
  kid text constraint signing_keys_pkey primary key
    constraint signing_keys_kid_form check (kid ~ '^[A-Za-z0-9_-]{43}$'),
  state text not null constraint signing_keys_state_known check (state in ('next', 'active', 'retiring', 'retired')),
  public_jwk jsonb not null
    constraint signing_keys_public_only check (public_jwk ->> 'kty' = 'RSA' and not public_jwk ?| array['d', 'p', 'q', 'dp', 'dq', 'qi']),
  -- What the key provider needs to open the private half; null once the key is retired.
  wrapped_private_key jsonb
    constraint signing_keys_wrapped_bound check (octet_length(wrapped_private_key::text) <= 32768),
  created_at timestamptz not null default now(),
  activated_at timestamptz,
  retiring_at timestamptz,
  retired_at timestamptz,
  constraint signing_keys_private_until_retired check ((state = 'retired') = (wrapped_private_key is null))
);

-- INVARIANT: one key signs, one key waits.
create unique index signing_keys_one_active on rap.signing_keys (state) where state = 'active';
create unique index signing_keys_one_next on rap.signing_keys (state) where state = 'next';
create trigger signing_keys_keep_columns before update on rap.signing_keys
  for each row execute function rap.keep_columns('kid', 'public_jwk', 'created_at');

create function rap.check_signing_key_state() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.state <> new.state and (old.state, new.state) not in
    (('next', 'active'), ('active', 'retiring'), ('retiring', 'retired')) then
    raise exception 'signing key cannot go from % to %', old.state, new.state
      using errcode = 'check_violation', constraint = tg_name, table = tg_table_name;
  end if;
  return new;
end
$$;

create trigger signing_keys_state_transition before update on rap.signing_keys
  for each row execute function rap.check_signing_key_state();
