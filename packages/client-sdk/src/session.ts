import type { Candidate } from '@rap/candidate-metadata'
import {
  destinationOf,
  formatProxyAuth,
  MAX_MESSAGE_BYTES,
  PROTOCOL_VERSION,
  type RuntimeTransport,
} from '@rap/data-plane-protocol'
import { isSideChannel, SIDE_CHANNELS } from '@rap/session-policy'
import { BindLostError, type BoundSocket, bindSocket } from './bind.ts'
import {
  type DialOptions,
  dial,
  type PathChoice,
  type PathName,
  placeOf,
  probeCandidates,
  RapPathError,
  rankCandidates,
  type UsableCandidate,
} from './candidates.ts'
import type { ClientContext } from './context.ts'
import { makeProof, type SessionKey } from './dpop.ts'
import { RapError } from './errors.ts'
import { buildPath, type HttpAnswer } from './http.ts'
import { type Attachment, FreshToken, SessionRecord, SessionWithAttachment, StartedSession } from './model.ts'
import { type RdpConnection, rdpConnectionOf } from './rdp-connection.ts'
import { type SessionEvent, sessionEvents } from './session-events.ts'
import { checked } from './shape.ts'
import { clockOffsetMs, type Grant, TokenSource } from './token-source.ts'
import { Trace } from './trace.ts'
import { SessionTransfers, type Transfers } from './transfers/transfers.ts'

/** Size of the desktop, in pixels. */
export interface Display {
  readonly width: number
  readonly height: number
}

export interface PathOptions {
  /** Default `auto`. */
  readonly path?: PathChoice
  readonly signal?: AbortSignal
}

export interface ConnectOptions extends PathOptions {
  /** Default `binary_v1`. */
  readonly transport?: 'binary_v1' | 'json_v1'
  /** Channels to bind with; default: those of the attachment that are inside RDP, so that `transfers()` can have the others. */
  readonly channels?: readonly string[]
}

export interface TransfersOptions extends PathOptions {
  /** How long a lost connection is looked for before its uploads fail, in milliseconds; default: ten minutes. */
  readonly retryForMs?: number
}

export interface AttachOptions {
  /** Closes another live attachment of this session, which is told why. */
  readonly takeover?: boolean
  readonly display?: Display
}

/** What `<iron-remote-desktop>` needs to connect by itself. INVARIANT: it holds no credential of the target. */
export interface RdCleanPathTarget {
  /** WebSocket URL of the worker or the gateway. */
  readonly proxyAddress: string
  /** Token and proof; for one connection, within a minute. */
  readonly authToken: string
  /** Opaque name of the resource, not an address. */
  readonly destination: string
  readonly path: PathName
  readonly trace: Trace
}

const RETRY_FOR_MS = 600_000

/** Which channels to bind with, of those that are allowed. */
type ChannelChoice = (allowed: readonly string[]) => string[]

interface BindRequest {
  readonly transport: 'binary_v1' | 'json_v1'
  readonly path: PathChoice | undefined
  readonly signal: AbortSignal | undefined
  readonly trace: Trace
}

/** Builds a session from the answer to a start. */
export function sessionOf(context: ClientContext, key: SessionKey, answer: HttpAnswer): Session {
  return new Session(context, key, startedOf(answer))
}

function startedOf(answer: HttpAnswer): { started: StartedSession; grant: Grant } {
  const started = checked(StartedSession, answer.body, 'a started session')
  return {
    started,
    grant: { dataPlane: started.data_plane, clockOffsetMs: clockOffsetMs(answer.serverTimeMs, Date.now()) },
  }
}

/** A session that this client has started: its state, its key and the ways to its desktop. */
export class Session {
  readonly id: string
  readonly #context: ClientContext
  readonly #key: SessionKey
  readonly #tokens: TokenSource
  #record: SessionRecord
  #attachment: Attachment
  readonly #transfers = new Set<SessionTransfers>()

  constructor(context: ClientContext, key: SessionKey, { started, grant }: { started: StartedSession; grant: Grant }) {
    this.id = started.session.id
    this.#context = context
    this.#key = key
    this.#record = started.session
    this.#attachment = started.attachment
    this.#tokens = new TokenSource(grant, () => this.#freshGrant(), Date.now)
  }

  /** The session as the server told it last. */
  get record(): SessionRecord {
    return this.#record
  }

  get attachment(): Attachment {
    return this.#attachment
  }

  /** The candidates that the server named last, unjudged; `chooseCandidate` judges them. */
  get candidates(): readonly unknown[] {
    return this.#tokens.candidates
  }

  /** Asks the server for the state of the session. */
  async refresh(): Promise<SessionRecord> {
    const { body } = await this.#context.account.call({ method: 'GET', path: buildPath('/v1/sessions', [this.id]) })
    this.#record = checked(SessionRecord, body, 'a session')
    return this.#record
  }

  /** Changes of the session, as they happen, until it ends or `signal` is aborted. */
  events(options: { signal?: AbortSignal } = {}): AsyncGenerator<SessionEvent, void> {
    return sessionEvents(this.#context, this.id, options.signal)
  }

  /** Closes the connection to the target, and the transfers; the desktop stays there and `attach` comes back to it. */
  async detach(): Promise<void> {
    await this.#closeTransfers()
    await this.#command('detach')
  }

  /** Ends the session for good. */
  async terminate(): Promise<void> {
    await this.#closeTransfers()
    await this.#command('terminate')
  }

  /**
   * Makes a new attachment to the same desktop; every token and connection of the older one is worth nothing from then on.
   * Transfers of this session go on over the new one.
   */
  async attach(options: AttachOptions = {}): Promise<void> {
    for (const transfers of this.#transfers) transfers.hold()
    try {
      await this.#attach(options)
    } finally {
      for (const transfers of this.#transfers) transfers.release()
    }
  }

  async #attach({ takeover, display }: AttachOptions): Promise<void> {
    const answer = await this.#context.account.call({
      method: 'POST',
      path: buildPath('/v1/sessions', [this.id, 'attachments']),
      body: {
        dpop_jkt: this.#key.thumbprint,
        ...(takeover !== undefined && { takeover }),
        ...(display !== undefined && { display }),
      },
      timeoutMs: this.#context.timeouts.startMs,
    })
    const { started, grant } = startedOf(answer)
    this.#record = started.session
    this.#attachment = started.attachment
    this.#tokens.replace(grant)
  }

  /** Chooses a path without using a token: direct where a worker answers with a trusted certificate, else the gateway. */
  async chooseCandidate(
    options: PathOptions & { transport?: RuntimeTransport } = {},
  ): Promise<{ candidate: Candidate; path: PathName; trace: Trace }> {
    const trace = this.#trace()
    const usable = this.#rank(options.transport ?? 'rdcleanpath_v1', options.path, trace)
    const { candidate, path } = await probeCandidates(usable, this.#dialOptions(options.signal), trace)
    return { candidate, path, trace }
  }

  /** Chooses a path for `<iron-remote-desktop>` and makes what it needs: a token for one bind and a proof for that URL. */
  async rdCleanPath(options: PathOptions = {}): Promise<RdCleanPathTarget> {
    const { candidate, path, trace } = await this.chooseCandidate({ ...options, transport: 'rdcleanpath_v1' })
    const { token, proof } = await this.#tokenAndProof(candidate.url)
    return {
      proxyAddress: candidate.url,
      authToken: formatProxyAuth(token, proof),
      destination: destinationOf(this.#record.resource_id),
      path,
      trace,
    }
  }

  /**
   * Binds and gives the RDP byte stream.
   *
   * A candidate whose TLS or network fails is followed by the next one. A refusal is final: it throws RapError with the
   * refusal's code. RapPathError says that no candidate led anywhere. Where the policy was narrowed meanwhile it binds with
   * what is left of the channels.
   */
  async connect(options: ConnectOptions = {}): Promise<RdpConnection> {
    const { transport = 'binary_v1', path, signal } = options
    const trace = this.#trace()
    const choice: ChannelChoice = allowed => [...(options.channels ?? allowed.filter(name => !isSideChannel(name)))]
    const { boundSocket, usable } = await this.#bind(choice, { transport, path, signal, trace })
    return rdpConnectionOf(boundSocket, { path: usable.path, url: usable.candidate.url, trace })
  }

  /**
   * Opens the connection for uploads into RAP_Transfers and for notices, beside the one that carries the desktop. What is opened
   * again by somebody else takes these channels away, with ERR_SESSION_CHANNELS_BOUND_AGAIN. Throws as `connect` does, and
   * ERR_CHANNEL_NOT_ALLOWED where the policy has neither `file_upload` nor `events`.
   */
  async transfers({ path, signal, retryForMs = RETRY_FOR_MS }: TransfersOptions = {}): Promise<Transfers> {
    const { platform, timeouts } = this.#context
    const sides: ChannelChoice = allowed => SIDE_CHANNELS.filter(name => allowed.includes(name))
    // One that looks for its lost link must not take the channels back from this one.
    const older = [...this.#transfers]
    for (const one of older) one.hold()
    const opening = SessionTransfers.open(
      {
        bind: async given => {
          const trace = this.#trace()
          return (await this.#bind(sides, { transport: 'binary_v1', path, signal: given, trace })).boundSocket
        },
        newSha256: () => platform.newSha256(),
        timeoutMs: timeouts.bindMs,
        silenceMs: timeouts.silenceMs,
        retryForMs,
        sessionId: this.id,
      },
      signal,
    )
    const transfers = await opening.catch((error: unknown) => {
      for (const one of older) one.release()
      throw error
    })
    for (const one of older) one.replace()
    this.#transfers.add(transfers)
    transfers.closed.then(() => this.#transfers.delete(transfers))
    return transfers
  }

  /** Binds with the channels that are chosen; after a refusal for them once more with what the policy has left. */
  async #bind(
    choice: ChannelChoice,
    request: BindRequest,
  ): Promise<{ boundSocket: BoundSocket; usable: UsableCandidate }> {
    const channels = choice(this.#attachment.allowed_channels)
    try {
      return await this.#bindWith(channels, request)
    } catch (error) {
      if (!(error instanceof RapError) || error.code !== 'ERR_BIND_CHANNELS_NOT_ALLOWED') throw error
      const before = this.#attachment.allowed_channels
      await this.#refreshAttachment()
      const now = this.#attachment.allowed_channels
      const left = channels.filter(name => now.includes(name))
      // Whoever asks for more than there ever was is told so.
      const askedTooMuch =
        left.length < channels.length && !channels.some(name => before.includes(name) && !now.includes(name))
      if (left.length === 0 || askedTooMuch) throw error
      this.#tokens.discard()
      return await this.#bindWith(left, request)
    }
  }

  async #bindWith(
    channels: string[],
    request: BindRequest,
  ): Promise<{ boundSocket: BoundSocket; usable: UsableCandidate }> {
    if (channels.length === 0) {
      throw new RapError('ERR_CHANNEL_NOT_ALLOWED', 'no channel that is allowed was asked for', {
        detail: 'The policy allows nothing of what this connection is for.',
        remedy: 'Ask your administrator.',
        sessionId: this.id,
      })
    }
    const { transport, path, trace } = request
    for (const usable of this.#rank(transport, path, trace)) {
      const boundSocket = await this.#tryBind(usable, channels, request)
      if (boundSocket !== undefined) return { boundSocket, usable }
    }
    throw new RapPathError('ERR_NO_PATH', 'no candidate can be reached', trace)
  }

  async #tryBind(
    usable: UsableCandidate,
    channels: string[],
    { transport, signal, trace }: BindRequest,
  ): Promise<BoundSocket | undefined> {
    const { candidate } = usable
    const dialled = await dial(
      usable,
      { ...this.#dialOptions(signal), sendsFiles: channels.includes('file_upload') },
      trace,
    )
    if (dialled === undefined) return undefined
    const { socket, opened } = dialled
    trace.add({ ...placeOf(candidate), event: 'opened', ...opened })
    try {
      const { token, proof } = await this.#tokenAndProof(candidate.url)
      const boundSocket = await bindSocket(
        socket,
        {
          type: 'bind',
          protocol_version: PROTOCOL_VERSION,
          runtime_transport: transport,
          token,
          proof,
          channels,
        },
        { timeoutMs: this.#context.timeouts.bindMs, signal },
      )
      trace.add({ ...placeOf(candidate), event: 'bound', reason: 'ok' })
      return boundSocket
    } catch (error) {
      socket.abort()
      const reason = error instanceof BindLostError ? error.reason : (error as { code?: string }).code
      trace.add({ ...placeOf(candidate), event: 'failed', reason: reason ?? 'error' })
      if (error instanceof BindLostError) return undefined
      throw error
    }
  }

  async #tokenAndProof(url: string): Promise<{ token: string; proof: string }> {
    const token = await this.#tokens.take()
    return { token, proof: await makeProof(this.#key, { token, url, nowSeconds: this.#tokens.nowSeconds }) }
  }

  #rank(transport: RuntimeTransport, path: PathChoice = 'auto', trace: Trace): UsableCandidate[] {
    const { environment, allowInsecureDirectDataPlaneTlsForSmoke } = this.#context
    const options = { environment, runtimeTransport: transport, path, allowInsecureDirectDataPlaneTlsForSmoke }
    return rankCandidates(this.#tokens.candidates, options, trace)
  }

  #dialOptions(signal: AbortSignal | undefined): DialOptions {
    const { platform, trust, timeouts } = this.#context
    return {
      openSocket: platform.openSocket,
      authoritiesFor: (usable, more) => trust.authoritiesFor(usable, more),
      timeoutMs: timeouts.openMs,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      signal,
    }
  }

  async #refreshAttachment(): Promise<void> {
    const { body } = await this.#context.account.call({ method: 'GET', path: buildPath('/v1/sessions', [this.id]) })
    const { attachment, ...record } = checked(SessionWithAttachment, body, 'a session')
    this.#record = record
    if (attachment !== null) this.#attachment = attachment
  }

  async #closeTransfers(): Promise<void> {
    await Promise.all([...this.#transfers].map(transfers => transfers.close()))
  }

  #trace(): Trace {
    return new Trace(() => performance.now())
  }

  async #freshGrant(): Promise<Grant> {
    const answer = await this.#context.account.call({
      method: 'POST',
      path: buildPath('/v1/sessions', [this.id, 'data-plane-token']),
      body: {},
    })
    return {
      dataPlane: checked(FreshToken, answer.body, 'a data-plane token').data_plane,
      clockOffsetMs: clockOffsetMs(answer.serverTimeMs, Date.now()),
    }
  }

  async #command(name: 'detach' | 'terminate'): Promise<void> {
    const path = buildPath('/v1/sessions', [this.id, name])
    const { body } = await this.#context.account.call({ method: 'POST', path, body: {} })
    this.#record = checked(SessionRecord, body, 'a session')
  }
}
