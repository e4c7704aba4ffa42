-- Policies: what sessions may do, written for an organization, for one of its resources, or for one member on one resource (a grant).

create table rap.policies (
  organization_id uuid not null constraint policies_organization_fkey references rap.organizations (id),
  resource_id uuid,
  user_id uuid,
  -- Null once it was deleted: the row stays, so that a version is never used twice.
  document jsonb constraint policies_document_bound
    check (jsonb_typeof(document) = 'object' and octet_length(document::text) <= 8192),
  version integer not null default 1 constraint policies_version_positive check (version >= 1),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  updated_by uuid not null constraint policies_updated_by_fkey references rap.users (id),
  constraint policies_scope_key unique nulls not distinct (organization_id, resource_id, user_id),
  constraint policies_scope_known check (user_id is null or resource_id is not null),
  constraint policies_resource_fkey foreign key (organization_id, resource_id)
    references rap.resources (organization_id, id),
  -- Whoever leaves the organization leaves no grant behind.
  constraint policies_member_fkey foreign key (organization_id, user_id)
    references rap.memberships (organization_id, user_id) on delete cascade
);

create index policies_member on rap.policies (organization_id, user_id) where user_id is not null;
create index policies_grants_page on rap.policies (resource_id, created_at, user_id)
  where user_id is not null and document is not null;
create trigger policies_keep_columns before update on rap.policies
  for each row execute function rap.keep_columns('organization_id', 'resource_id', 'user_id', 'created_at');
create trigger policies_touch before update on rap.policies
  for each row execute function rap.touch_updated_at();

-- Attachments from before there were policies have the limits that held then.
alter table rap.session_attachments add column limits jsonb not null default
  '{"idle_seconds": null, "session_seconds": null, "clipboard_bytes": 1048576, "upload_file_bytes": 10737418240,
    "upload_session_bytes": 21474836480, "upload_files": 1000, "upload_extensions": null}'
  constraint session_attachments_limits_bound check (jsonb_typeof(limits) = 'object' and octet_length(limits::text) <= 8192);
alter table rap.session_attachments alter column limits drop default;

-- created_at and the session_seconds of the policy in force; null where there is no such limit.
alter table rap.remote_sessions add column ends_at timestamptz;
create index remote_sessions_ends_at on rap.remote_sessions (ends_at)
  where ends_at is not null and state in ('assigning', 'ready', 'active', 'detached');

-- A policy that moves the end of a detached session does not begin its time as a detached one anew.
drop trigger remote_sessions_touch on rap.remote_sessions;
create trigger remote_sessions_touch before update on rap.remote_sessions
  for each row when (old.state <> new.state or old.ends_at is not distinct from new.ends_at)
  execute function rap.touch_updated_at();

-- Whoever watches a session is told what it may do as well.
create or replace function rap.notify_attachment() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or old.state <> new.state or old.allowed_channels <> new.allowed_channels or old.limits <> new.limits then
    perform pg_notify('rap_attachments', json_build_object(
      'attachment_id', new.id, 'session_id', new.session_id, 'state', new.state)::text);
  end if;
  return null;
end
$$;

create or replace function rap.notify_session() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or old.state <> new.state or old.ends_at is distinct from new.ends_at then
    perform pg_notify('rap_sessions', json_build_object('session_id', new.id, 'state', new.state)::text);
  end if;
  return null;
end
$$;
