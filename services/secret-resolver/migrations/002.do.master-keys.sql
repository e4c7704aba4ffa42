-- The master keys by name: what a key_id in another table means. A row is never deleted, so no id is ever used again.
create table secrets.master_keys (
  key_id text not null,
  -- The key source that has the key, as it is named in the configuration.
  source text not null,
  state text not null default 'available',
  -- Random bytes that the key has wrapped: a key of the same name with other bytes is found by it before any request.
  check_value bytea,
  created_at timestamptz not null default now(),
  activated_at timestamptz,
  retired_at timestamptz,
  constraint master_keys_pkey primary key (key_id),
  constraint master_keys_key_id_bounded check (length(key_id) between 1 and 128),
  constraint master_keys_state_known check (state in ('available', 'active', 'retired')),
  constraint master_keys_active_has_been_activated check (state <> 'active' or activated_at is not null),
  constraint master_keys_retired_is_dated check ((state = 'retired') = (retired_at is not null))
);

create unique index master_keys_one_active on secrets.master_keys ((true)) where state = 'active';

insert into secrets.master_keys (key_id, source)
select distinct key_id, key_id from (
  select key_id from secrets.resource_secrets union select key_id from secrets.sealing_keys
) known;

-- Until now the key that wrapped the newest sealing key was the one that wrapped everything new.
update secrets.master_keys set state = 'active', activated_at = now()
where key_id = (select key_id from secrets.sealing_keys where superseded_at is null);

-- Writers hold a share of the row of the key that they wrap with until they are done, so that it cannot be retired meanwhile.
alter table secrets.resource_secrets
  add constraint resource_secrets_key_id_known foreign key (key_id) references secrets.master_keys (key_id);
alter table secrets.sealing_keys
  add constraint sealing_keys_key_id_known foreign key (key_id) references secrets.master_keys (key_id);

-- Running resolvers and the key sources that each has: a key becomes active only when all of them can use it.
create table secrets.resolver_instances (
  instance_id uuid not null,
  name text not null,
  sources text[] not null,
  seen_at timestamptz not null default now(),
  constraint resolver_instances_pkey primary key (instance_id),
  constraint resolver_instances_name_bounded check (length(name) between 1 and 256)
);

-- A re-wrap that somebody asked for and that the resolvers do; what is done is told by the key_id of the rows alone.
create table secrets.rewrap_jobs (
  id uuid not null,
  to_key_id text not null,
  requested_by uuid not null,
  request_id text not null,
  total integer not null,
  failed integer not null default 0,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  constraint rewrap_jobs_pkey primary key (id),
  constraint rewrap_jobs_key_id_known foreign key (to_key_id) references secrets.master_keys (key_id)
);

create unique index rewrap_jobs_one_running on secrets.rewrap_jobs ((true)) where finished_at is null;
create index rewrap_jobs_created_at on secrets.rewrap_jobs (created_at);

revoke all on all tables in schema secrets from public;
