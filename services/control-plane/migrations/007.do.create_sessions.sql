-- Sessions and their attachments. A session is one person's use of one resource; each connection to the target is an
-- attachment of its own.

create table rap.remote_sessions (
  id uuid constraint remote_sessions_pkey primary key default gen_random_uuid(),
  organization_id uuid not null,
  resource_id uuid not null,
  user_id uuid not null constraint remote_sessions_user_fkey references rap.users (id),
  state text not null default 'assigning' constraint remote_sessions_state_known
    check (state in ('assigning', 'ready', 'active', 'detached', 'terminated', 'failed')),
  -- {"secret_ref": …}: references and display facts, never a secret.
  metadata jsonb not null default '{}'
    constraint remote_sessions_metadata_bound check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 8192),
  failure jsonb
    constraint remote_sessions_failure_bound check (jsonb_typeof(failure) = 'object' and octet_length(failure::text) <= 8192),
  end_reason text constraint remote_sessions_end_reason_length check (char_length(end_reason) <= 100),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  ended_at timestamptz,
  constraint remote_sessions_resource_fkey foreign key (organization_id, resource_id)
    references rap.resources (organization_id, id),
  constraint remote_sessions_organization_id_key unique (organization_id, id),
  constraint remote_sessions_ended_with_time check ((state in ('terminated', 'failed')) = (ended_at is not null)),
  constraint remote_sessions_failed_with_failure check (state <> 'failed' or failure is not null)
);

create index remote_sessions_page on rap.remote_sessions (organization_id, created_at, id);
create index remote_sessions_user_page on rap.remote_sessions (user_id, created_at, id);
create index remote_sessions_live on rap.remote_sessions (organization_id, user_id)
  where state in ('assigning', 'ready', 'active', 'detached');
create index remote_sessions_resource on rap.remote_sessions (resource_id);

create table rap.session_attachments (
  id uuid constraint session_attachments_pkey primary key default gen_random_uuid(),
  organization_id uuid not null,
  session_id uuid not null,
  -- 1, 2, 3, … within one session; only the highest one can be live.
  ordinal integer not null constraint session_attachments_ordinal_positive check (ordinal >= 1),
  worker_id uuid not null constraint session_attachments_worker_fkey references rap.workers (id),
  lease_id uuid not null constraint session_attachments_lease_key unique,
  state text not null default 'assigning' constraint session_attachments_state_known
    check (state in ('assigning', 'ready', 'active', 'closed', 'superseded', 'failed')),
  -- RFC 7638 thumbprint of the key that the client made for this attachment.
  dpop_jkt text not null constraint session_attachments_dpop_jkt_form check (dpop_jkt ~ '^[A-Za-z0-9_-]{43}$'),
  allowed_channels text[] not null constraint session_attachments_channels_known check (
    allowed_channels <@ array['display', 'input', 'clipboard_client_to_server', 'clipboard_server_to_client', 'file_upload', 'events']
  ),
  -- What connections of this attachment were bound with; a channel is bound once.
  bound_channels text[] not null default '{}'
    constraint session_attachments_bound_within_allowed check (bound_channels <@ allowed_channels),
  supersedes_attachment_id uuid
    constraint session_attachments_supersedes_fkey references rap.session_attachments (id),
  failure jsonb
    constraint session_attachments_failure_bound check (jsonb_typeof(failure) = 'object' and octet_length(failure::text) <= 8192),
  close_reason text constraint session_attachments_close_reason_length check (char_length(close_reason) <= 100),
  -- Sweeps of the reaper that found no lease, in a row, and when the first of them was.
  lease_missed_sweeps smallint not null default 0,
  lease_missing_since timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  ready_at timestamptz,
  bound_at timestamptz,
  closed_at timestamptz,
  constraint session_attachments_session_fkey foreign key (organization_id, session_id)
    references rap.remote_sessions (organization_id, id),
  constraint session_attachments_ordinal_key unique (session_id, ordinal),
  constraint session_attachments_closed_with_time
    check ((state in ('closed', 'superseded', 'failed')) = (closed_at is not null)),
  constraint session_attachments_failed_with_failure check (state <> 'failed' or failure is not null)
);

-- INVARIANT: a session has one live attachment at most.
create unique index session_attachments_one_live on rap.session_attachments (session_id)
  where state in ('assigning', 'ready', 'active');
create index session_attachments_live_by_worker on rap.session_attachments (worker_id)
  where state in ('assigning', 'ready', 'active');

-- The two state machines, the same rows as src/sessions/states.ts (a test compares them).
create table rap.state_transitions (
  machine text not null constraint state_transitions_machine_known check (machine in ('session', 'attachment')),
  from_state text not null,
  to_state text not null,
  constraint state_transitions_pkey primary key (machine, from_state, to_state)
);

insert into rap.state_transitions (machine, from_state, to_state) values
  ('session', 'assigning', 'ready'),
  ('session', 'assigning', 'detached'),
  ('session', 'assigning', 'terminated'),
  ('session', 'assigning', 'failed'),
  ('session', 'ready', 'assigning'),
  ('session', 'ready', 'active'),
  ('session', 'ready', 'detached'),
  ('session', 'ready', 'terminated'),
  ('session', 'ready', 'failed'),
  ('session', 'active', 'assigning'),
  ('session', 'active', 'detached'),
  ('session', 'active', 'terminated'),
  ('session', 'active', 'failed'),
  ('session', 'detached', 'assigning'),
  ('session', 'detached', 'terminated'),
  ('session', 'detached', 'failed'),
  ('attachment', 'assigning', 'ready'),
  ('attachment', 'assigning', 'closed'),
  ('attachment', 'assigning', 'superseded'),
  ('attachment', 'assigning', 'failed'),
  ('attachment', 'ready', 'active'),
  ('attachment', 'ready', 'closed'),
  ('attachment', 'ready', 'superseded'),
  ('attachment', 'ready', 'failed'),
  ('attachment', 'active', 'closed'),
  ('attachment', 'active', 'superseded'),
  ('attachment', 'active', 'failed');

-- Trigger argument: the machine. A takeover leaves a session that was already assigning in that state.
create function rap.check_state_transition() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.state <> new.state and not exists (
    select from rap.state_transitions t
    where t.machine = tg_argv[0] and t.from_state = old.state and t.to_state = new.state
  ) then
    raise exception '% cannot go from % to %', tg_argv[0], old.state, new.state
      using errcode = 'check_violation', constraint = tg_name, table = tg_table_name;
  end if;
  return new;
end
$$;

-- New rows begin at the beginning.
create function rap.check_first_state() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.state <> 'assigning' then
    raise exception '% begins in another state', tg_table_name
      using errcode = 'check_violation', constraint = tg_name, table = tg_table_name;
  end if;
  return new;
end
$$;

-- Tells every instance that waits. The payload is ids and a state.
create function rap.notify_attachment() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or old.state <> new.state then
    perform pg_notify('rap_attachments', json_build_object(
      'attachment_id', new.id, 'session_id', new.session_id, 'state', new.state)::text);
  end if;
  return null;
end
$$;

create function rap.notify_session() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or old.state <> new.state then
    perform pg_notify('rap_sessions', json_build_object('session_id', new.id, 'state', new.state)::text);
  end if;
  return null;
end
$$;

create trigger remote_sessions_first_state before insert on rap.remote_sessions
  for each row execute function rap.check_first_state();
create trigger remote_sessions_keep_columns before update on rap.remote_sessions
  for each row execute function rap.keep_columns('id', 'organization_id', 'resource_id', 'user_id', 'created_at');
create trigger remote_sessions_state_transition before update on rap.remote_sessions
  for each row execute function rap.check_state_transition('session');
create trigger remote_sessions_touch before update on rap.remote_sessions
  for each row execute function rap.touch_updated_at();
create trigger remote_sessions_notify after insert or update on rap.remote_sessions
  for each row execute function rap.notify_session();

create trigger session_attachments_first_state before insert on rap.session_attachments
  for each row execute function rap.check_first_state();
create trigger session_attachments_keep_columns before update on rap.session_attachments
  for each row execute function rap.keep_columns(
    'id', 'organization_id', 'session_id', 'ordinal', 'worker_id', 'lease_id', 'dpop_jkt', 'supersedes_attachment_id',
    'created_at');
create trigger session_attachments_state_transition before update on rap.session_attachments
  for each row execute function rap.check_state_transition('attachment');
create trigger session_attachments_touch before update on rap.session_attachments
  for each row execute function rap.touch_updated_at();
create trigger session_attachments_notify after insert or update on rap.session_attachments
  for each row execute function rap.notify_attachment();
