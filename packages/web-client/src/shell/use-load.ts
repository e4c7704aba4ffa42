import { useCallback, useEffect, useState } from 'react'
import { type Explanation, explain } from '../auth/auth.tsx'

export interface Load<T> {
  readonly value: T | undefined
  readonly failure: Explanation | undefined
  reload(): void
}

/** Loads a value when `load` changes, and again on demand; an answer that comes too late is dropped. */
export function useLoad<T>(load: () => Promise<T>): Load<T> {
  const [value, setValue] = useState<T>()
  const [failure, setFailure] = useState<Explanation>()
  const [round, setRound] = useState(0)

  useEffect(() => {
    let current = true
    load().then(
      loaded => {
        if (!current) return
        setValue(loaded)
        setFailure(undefined)
      },
      error => current && setFailure(explain(error)),
    )
    return () => {
      current = false
    }
  }, [load, round])

  return { value, failure, reload: useCallback(() => setRound(n => n + 1), []) }
}
