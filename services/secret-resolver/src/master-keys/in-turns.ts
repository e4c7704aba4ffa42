/** Acts on every item, `width` at once, and answers in the items' order. Rejects with the first error after all have ended. */
export async function inTurns<T, R>(items: readonly T[], width: number, act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length)
  let next = 0
  const worker = async () => {
    for (let at = next++; at < items.length; at = next++) results[at] = await act(items[at] as T)
  }
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, worker))
  const failed = outcomes.find(outcome => outcome.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return results
}
