/** Where a key is: the mount of its engine, and its name there. */
export interface TransitPlace {
  readonly mount: string
  readonly key: string
}
