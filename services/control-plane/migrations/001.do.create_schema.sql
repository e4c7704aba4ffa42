-- The schema of the control plane and the trigger functions that its tables share.

do $$
begin
  -- "create schema if not exists" asks for the right to create one even where it is there already.
  if not exists (select from pg_namespace where nspname = 'rap') then
    create schema rap;
  end if;
end
$$;

-- Trigger arguments are the names of columns that keep their first value.
create function rap.keep_columns() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  kept text;
begin
  foreach kept in array tg_argv loop
    if (to_jsonb(old) -> kept) is distinct from (to_jsonb(new) -> kept) then
      raise exception 'column % of % keeps its first value', kept, tg_table_name
        using errcode = 'check_violation', constraint = tg_name, table = tg_table_name;
    end if;
  end loop;
  return new;
end
$$;

-- For rows that are written once.
create function rap.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception '% of % is refused, rows are written once', tg_op, tg_table_name
    using errcode = 'check_violation', constraint = tg_name, table = tg_table_name;
end
$$;

-- INVARIANT: updated_at is the database's own clock.
create function rap.touch_updated_at() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := clock_timestamp();
  return new;
end
$$;
