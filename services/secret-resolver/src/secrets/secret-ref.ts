/** The only kind of secret that a resource has so far. */
export const SECRET_SLOT = 'rdp-primary'

/** The reference of a resource's secret: what sessions, assignments and audit carry in place of the secret. */
export function secretRefOf(organizationId: string, resourceId: string): string {
  return `rap-secret://org/${organizationId}/resources/${resourceId}/${SECRET_SLOT}`
}
