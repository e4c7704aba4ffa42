export {
  type Finding,
  findCredentials,
  MAX_DEPTH,
  MAX_FINDINGS,
  MAX_NODES,
  MAX_TOTAL_CHARACTERS,
  withoutCredentials,
} from './find.ts'
export { credentialNameRule, isCredentialName, MAX_NAME_CHARACTERS, type NameRefusal } from './names.ts'
export { isCredentialValue, MAX_VALUE_CHARACTERS, type ValueRule } from './values.ts'
export type { NameRule } from './words.ts'
