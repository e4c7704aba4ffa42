-- The key id in the associated data of the content and of the data key: that of the key that was active when the version
-- was written. A re-wrap changes key_id alone, and so never has to decrypt the content.
alter table secrets.resource_secrets add column sealed_key_id text;
update secrets.resource_secrets set sealed_key_id = key_id;
alter table secrets.resource_secrets
  alter column sealed_key_id set not null,
  add constraint resource_secrets_sealed_key_id_known foreign key (sealed_key_id) references secrets.master_keys (key_id);

-- A version that a newer one has taken the place of keeps its content for a time, so that one can go back to it.
alter table secrets.resource_secrets add column superseded_at timestamptz;
update secrets.resource_secrets set superseded_at = destroyed_at where destroyed_at is not null;

drop index secrets.resource_secrets_one_live;
create unique index resource_secrets_one_live on secrets.resource_secrets (secret_ref)
  where superseded_at is null and destroyed_at is null;
create index resource_secrets_superseded on secrets.resource_secrets (superseded_at)
  where superseded_at is not null and destroyed_at is null;

-- The order in which a re-wrap goes through the rows of one key.
drop index secrets.resource_secrets_live_key_id;
create index resource_secrets_undestroyed_key on secrets.resource_secrets (key_id, secret_ref, version)
  where destroyed_at is null;
