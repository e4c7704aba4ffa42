/** Every way a helper of this package fails. */
export type TestkitErrorCode =
  | 'ERR_TESTKIT_TIMEOUT'
  | 'ERR_TESTKIT_PROCESS_EXITED'
  | 'ERR_TESTKIT_COMMAND_FAILED'
  | 'ERR_TESTKIT_NOT_INSTALLED'
  | 'ERR_TESTKIT_NOT_SUPPORTED'

export interface TestkitErrorFacts {
  readonly what?: string
  readonly timeoutMs?: number
  readonly exitCode?: number | null
  readonly signal?: string | null
  /** The last lines that the program wrote. */
  readonly output?: string
  readonly packages?: readonly string[]
}

/** A helper could not bring up or tear down the real part it stands for. */
export class TestkitError extends Error {
  override readonly name = 'TestkitError'
  readonly code: TestkitErrorCode
  readonly facts: TestkitErrorFacts

  constructor(code: TestkitErrorCode, message: string, facts: TestkitErrorFacts = {}, options?: ErrorOptions) {
    super(facts.output === undefined || facts.output === '' ? message : `${message}\n${facts.output}`, options)
    this.code = code
    this.facts = facts
  }
}
