declare module 'js-md4' {
  /** The part of the hash object that this package uses, its working memory included. */
  interface Md4 {
    update(message: Uint8Array): Md4
    arrayBuffer(): ArrayBuffer
    readonly buffer8: Uint8Array
    h0: number
    h1: number
    h2: number
    h3: number
  }
  const md4: { create(): Md4 }
  export default md4
}
