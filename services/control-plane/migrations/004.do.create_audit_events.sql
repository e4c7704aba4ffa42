-- The audit: append-only, one hash chain for each organization and one for the platform (organization_id null).

create table rap.audit_events (
  id bigint generated always as identity constraint audit_events_pkey primary key,
  organization_id uuid constraint audit_events_organization_fkey references rap.organizations (id),
  -- The nil UUID stands for the platform's own chain.
  chain_id uuid not null generated always as (coalesce(organization_id, '00000000-0000-0000-0000-000000000000')) stored,
  -- 1, 2, 3, … within one chain.
  sequence bigint not null constraint audit_events_sequence_positive check (sequence >= 1),
  occurred_at timestamptz not null,
  event text not null
    constraint audit_events_event_form check (char_length(event) <= 100 and event ~ '^[a-z][a-z0-9]*([._][a-z0-9]+)*$'),
  actor_kind text not null
    constraint audit_events_actor_kind_known check (actor_kind in ('user', 'worker', 'service', 'system')),
  actor_id text not null constraint audit_events_actor_id_length check (char_length(actor_id) between 1 and 256),
  outcome text not null constraint audit_events_outcome_known check (outcome in ('ok', 'refused', 'failed')),
  code text constraint audit_events_code_form check (char_length(code) <= 100 and code ~ '^[A-Z][A-Z0-9_]*$'),
  -- References without foreign keys: an audit row outlives what it speaks of, and a refusal may name what never was.
  session_id uuid,
  attachment_id uuid,
  resource_id uuid,
  worker_id uuid,
  user_id uuid,
  secret_ref text constraint audit_events_secret_ref_length check (char_length(secret_ref) <= 256),
  request_id text constraint audit_events_request_id_length check (char_length(request_id) <= 256),
  details jsonb not null constraint audit_events_details_bound
    check (jsonb_typeof(details) = 'object' and octet_length(details::text) <= 16384),
  previous_hash bytea not null constraint audit_events_previous_hash_length check (octet_length(previous_hash) = 32),
  hash bytea not null constraint audit_events_hash_length check (octet_length(hash) = 32),
  constraint audit_events_chain_key unique (chain_id, sequence)
);

create index audit_events_session_id on rap.audit_events (session_id) where session_id is not null;
create index audit_events_event on rap.audit_events (chain_id, event, sequence);

create trigger audit_events_append_only before update or delete on rap.audit_events
  for each row execute function rap.refuse_change();
create trigger audit_events_never_truncated before truncate on rap.audit_events
  for each statement execute function rap.refuse_change();

-- The bytes that a row's hash is taken over, after the 32 bytes of the hash before it: a JSON array in Postgres'
-- jsonb text form. src/audit/chain.ts writes the same bytes from an exported row.
create function rap.audit_row_text(row_of rap.audit_events) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_array(
    row_of.organization_id, row_of.sequence,
    to_char(row_of.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    row_of.event, row_of.actor_kind, row_of.actor_id, row_of.outcome, row_of.code,
    row_of.session_id, row_of.attachment_id, row_of.resource_id, row_of.worker_id, row_of.user_id,
    row_of.secret_ref, row_of.request_id, row_of.details
  )::text
$$;

-- Appends one event and returns {"organization_id", "sequence"}. The only way into the table for other roles.
-- Numbers that a double cannot hold exactly are kept as text, so that every reader computes the same hash.
create function rap.append_audit_event(event jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  known constant text[] := array[
    'organization_id', 'event', 'actor', 'session_id', 'attachment_id', 'resource_id', 'worker_id', 'user_id',
    'secret_ref', 'outcome', 'code', 'request_id', 'details'
  ];
  unknown text;
  entry rap.audit_events;
  last_sequence bigint;
  last_hash bytea;
begin
  if jsonb_typeof(event) is distinct from 'object' or octet_length(event::text) > 32768 then
    raise exception 'audit event is not an object within its bound' using errcode = 'check_violation';
  end if;
  select key into unknown from jsonb_object_keys(event) as key where key <> all (known) limit 1;
  if unknown is not null then
    raise exception 'audit event has an unknown member' using errcode = 'check_violation';
  end if;
  -- Roles that were given this function write about secrets only, so none of them can forge another part of the audit.
  if not pg_has_role(session_user, (select c.relowner from pg_class c where c.oid = 'rap.audit_events'::regclass), 'MEMBER')
    and coalesce(event ->> 'event', '') not like 'resource\_secret\_%' then
    raise exception 'this role may append events about secrets only' using errcode = 'insufficient_privilege';
  end if;

  entry.organization_id := (event ->> 'organization_id')::uuid;
  entry.event := event ->> 'event';
  entry.actor_kind := event -> 'actor' ->> 'kind';
  entry.actor_id := event -> 'actor' ->> 'id';
  entry.outcome := event ->> 'outcome';
  entry.code := event ->> 'code';
  entry.session_id := (event ->> 'session_id')::uuid;
  entry.attachment_id := (event ->> 'attachment_id')::uuid;
  entry.resource_id := (event ->> 'resource_id')::uuid;
  entry.worker_id := (event ->> 'worker_id')::uuid;
  entry.user_id := (event ->> 'user_id')::uuid;
  entry.secret_ref := event ->> 'secret_ref';
  entry.request_id := event ->> 'request_id';
  select coalesce(jsonb_object_agg(
    key,
    case
      when jsonb_typeof(value) in ('object', 'array') then to_jsonb(value::text)
      when jsonb_typeof(value) = 'number'
        and (value::text !~ '^-?[0-9]{1,15}$' or value::text = '-0') then to_jsonb(value::text)
      else value
    end
  ), '{}'::jsonb) into entry.details from jsonb_each(coalesce(event -> 'details', '{}'::jsonb));

  -- One writer a chain: the lock is held until the transaction ends, so a chain has no forks and no holes.
  perform pg_advisory_xact_lock(hashtextextended('rap.audit:' || coalesce(entry.organization_id::text, 'platform'), 0));
  select a.sequence, a.hash into last_sequence, last_hash from rap.audit_events a
    where a.chain_id = coalesce(entry.organization_id, '00000000-0000-0000-0000-000000000000')
    order by a.sequence desc limit 1;
  entry.sequence := coalesce(last_sequence, 0) + 1;
  entry.previous_hash := coalesce(last_hash, decode(repeat('00', 32), 'hex'));
  entry.occurred_at := clock_timestamp();
  entry.hash := sha256(entry.previous_hash || convert_to(rap.audit_row_text(entry), 'UTF8'));

  insert into rap.audit_events (
    organization_id, sequence, occurred_at, event, actor_kind, actor_id, outcome, code, session_id, attachment_id,
    resource_id, worker_id, user_id, secret_ref, request_id, details, previous_hash, hash
  ) values (
    entry.organization_id, entry.sequence, entry.occurred_at, entry.event, entry.actor_kind, entry.actor_id,
    entry.outcome, entry.code, entry.session_id, entry.attachment_id, entry.resource_id, entry.worker_id,
    entry.user_id, entry.secret_ref, entry.request_id, entry.details, entry.previous_hash, entry.hash
  );
  return jsonb_build_object('organization_id', entry.organization_id, 'sequence', entry.sequence);
end
$$;

revoke all on function rap.append_audit_event(jsonb) from public;
