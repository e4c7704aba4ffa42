-- What the secret-resolver reads of this schema. The control plane calls this at every start, so that it does not
-- matter which of the two roles was made first. Returns whether the role is there.

create function rap.grant_secret_resolver() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from pg_roles where rolname = 'rap_secret_resolver') then
    return false;
  end if;
  grant usage on schema rap to rap_secret_resolver;
  grant select on rap.resources, rap.remote_sessions, rap.session_attachments, rap.workers to rap_secret_resolver;
  grant execute on function rap.append_audit_event(jsonb) to rap_secret_resolver;
  return true;
end
$$;

revoke all on function rap.grant_secret_resolver() from public;
