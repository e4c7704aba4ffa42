-- Organizations are the tenants. Users are people; a membership gives one a role in one organization.

create table rap.organizations (
  id uuid constraint organizations_pkey primary key default gen_random_uuid(),
  name text not null constraint organizations_name_length check (char_length(name) between 1 and 200),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create trigger organizations_keep_columns before update on rap.organizations
  for each row execute function rap.keep_columns('id', 'created_at');
create trigger organizations_touch before update on rap.organizations
  for each row execute function rap.touch_updated_at();

create table rap.users (
  id uuid constraint users_pkey primary key default gen_random_uuid(),
  email text not null
    constraint users_email_key unique
    constraint users_email_form check (
      email = lower(email) and char_length(email) between 3 and 254 and email ~ '^[^[:space:]@]+@[^[:space:]@]+$'
    ),
  display_name text not null constraint users_display_name_length check (char_length(display_name) between 1 and 200),
  password_hash text not null
    constraint users_password_hash_form check (password_hash like '$argon2id$%' and char_length(password_hash) <= 512),
  -- 'owner' runs the platform itself: workers, signing keys, organizations.
  platform_role text constraint users_platform_role_known check (platform_role in ('owner')),
  -- Who made the account. Only this organization, or the platform owner, may add it anywhere: an account that was
  -- prepared by a stranger, with a password that the stranger knows, cannot be invited by mistake.
  home_organization_id uuid constraint users_home_organization_fkey references rap.organizations (id),
  password_changed_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create trigger users_keep_columns before update on rap.users
  for each row execute function rap.keep_columns('id', 'created_at', 'home_organization_id');
create trigger users_touch before update on rap.users
  for each row execute function rap.touch_updated_at();

create table rap.memberships (
  organization_id uuid not null constraint memberships_organization_fkey references rap.organizations (id),
  user_id uuid not null constraint memberships_user_fkey references rap.users (id),
  role text not null constraint memberships_role_known check (role in ('owner', 'admin', 'operator', 'auditor')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint memberships_pkey primary key (organization_id, user_id)
);

create index memberships_user_id on rap.memberships (user_id);
create trigger memberships_keep_columns before update on rap.memberships
  for each row execute function rap.keep_columns('organization_id', 'user_id', 'created_at');
create trigger memberships_touch before update on rap.memberships
  for each row execute function rap.touch_updated_at();
