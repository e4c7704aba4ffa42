-- A signing key that may be in other hands is taken back at once, from whatever state it is in.

alter table rap.signing_keys
  add column revoked_at timestamptz,
  drop constraint signing_keys_state_known,
  add constraint signing_keys_state_known check (state in ('next', 'active', 'retiring', 'retired', 'revoked')),
  drop constraint signing_keys_private_until_retired,
  add constraint signing_keys_private_while_needed check ((state in ('retired', 'revoked')) = (wrapped_private_key is null)),
  add constraint signing_keys_revoked_with_time check ((state = 'revoked') = (revoked_at is not null));

create or replace function rap.check_signing_key_state() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.state <> new.state and (old.state, new.state) not in
    (('next', 'active'), ('active', 'retiring'), ('retiring', 'retired'),
     ('next', 'revoked'), ('active', 'revoked'), ('retiring', 'revoked')) then
    raise exception 'signing key cannot go from % to %', old.state, new.state
      using errcode = 'check_violation', constraint = tg_name, table = tg_table_name;
  end if;
  return new;
end
$$;
