/** Roles of a member in one organization. */
export const ROLES = ['owner', 'admin', 'operator', 'auditor'] as const
export type Role = (typeof ROLES)[number]

/**
 * Who may do what inside one organization: the one table of the control plane.
 *
 * "own" means sessions that the member started; "any" means every session of the organization.
 */
export const PERMISSIONS = {
  'organization.read': ['owner', 'admin', 'operator', 'auditor'],
  'organization.change': ['owner', 'admin'],
  'members.list': ['owner', 'admin', 'auditor'],
  /** Admins manage everybody but owners; only owners make and unmake owners. */
  'members.manage': ['owner', 'admin'],
  'members.manage_owners': ['owner'],
  'resources.read': ['owner', 'admin', 'operator', 'auditor'],
  'resources.manage': ['owner', 'admin'],
  'policies.read': ['owner', 'admin', 'auditor'],
  'policies.manage': ['owner', 'admin'],
  'secrets.read_metadata': ['owner', 'admin', 'auditor'],
  'secrets.write': ['owner', 'admin'],
  'sessions.use': ['owner', 'admin', 'operator'],
  'sessions.read_any': ['owner', 'admin', 'auditor'],
  'sessions.end_any': ['owner', 'admin'],
  'audit.read': ['owner', 'admin', 'auditor'],
  'workers.list': ['owner', 'admin'],
} as const satisfies Record<string, readonly Role[]>

export type Permission = keyof typeof PERMISSIONS

/** True when the table gives this role this permission. */
export function can(role: Role, permission: Permission): boolean {
  return (PERMISSIONS[permission] as readonly Role[]).includes(role)
}

/** The permissions of a role, for the portal. */
export function permissionsOf(role: Role): Permission[] {
  return (Object.keys(PERMISSIONS) as Permission[]).filter(permission => can(role, permission))
}

/** The roles that have a permission, for queries. */
export function rolesWith(permission: Permission): Role[] {
  return [...PERMISSIONS[permission]]
}
