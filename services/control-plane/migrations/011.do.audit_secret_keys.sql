-- The secret-resolver may also write about the master keys of secrets (secret_key_*). Nothing else of the function is changed.
create or replace function rap.append_audit_event(event jsonb) returns jsonb
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
    and coalesce(event ->> 'event', '') !~ '^(resource_secret|secret_key)_' then
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
