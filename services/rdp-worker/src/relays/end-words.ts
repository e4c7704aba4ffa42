/** What a person is told about the end of a connection. */
export interface EndWords {
  readonly detail: string
  readonly remedy?: string
}

const TRY_AGAIN = 'Connect again; your work on the desktop is still there.'
const ASK_ADMINISTRATOR = 'Tell your administrator; the event log of the desktop has the details.'
const LICENSE_REMEDY =
  'An administrator has to check the Remote Desktop licensing of the desktop: its mode, its licence server and its free licences.'

/** Codes of Set Error Info. Spec: [MS-RDPBCGR] §2.2.5.1.1. */
export const ERROR_INFO: Readonly<Record<number, EndWords>> = {
  1: { detail: 'An administrator disconnected the session.', remedy: TRY_AGAIN },
  2: { detail: 'An administrator logged the account off.' },
  3: { detail: 'The idle limit of the desktop was reached.', remedy: TRY_AGAIN },
  4: { detail: 'The time limit of the desktop for active sessions was reached.', remedy: TRY_AGAIN },
  5: {
    detail: 'Somebody connected to the same desktop session from elsewhere.',
    remedy: 'Find out who else uses this account before you connect again.',
  },
  6: { detail: 'The desktop ran out of memory.', remedy: ASK_ADMINISTRATOR },
  7: { detail: 'The desktop denied the connection.', remedy: ASK_ADMINISTRATOR },
  9: {
    detail: 'The account may not log on to this desktop through Remote Desktop.',
    remedy: 'Add the account to the Remote Desktop Users of the desktop.',
  },
  10: {
    detail: 'The desktop asks for the password again and takes no stored one.',
    remedy: 'An administrator can switch off "Always prompt for password upon connection" on the desktop.',
  },
  11: { detail: 'The session was disconnected from inside the desktop.', remedy: TRY_AGAIN },
  12: { detail: 'The account was logged off inside the desktop.' },
  15: { detail: 'The display driver of the desktop was not ready.', remedy: TRY_AGAIN },
  16: { detail: 'The window manager of the desktop stopped.', remedy: TRY_AGAIN },
  17: { detail: 'The display driver of the desktop failed.', remedy: ASK_ADMINISTRATOR },
  18: { detail: 'The display driver of the desktop failed.', remedy: ASK_ADMINISTRATOR },
  23: { detail: 'The logon process of the desktop stopped.', remedy: ASK_ADMINISTRATOR },
  24: { detail: 'A system process of the desktop stopped.', remedy: ASK_ADMINISTRATOR },
  25: { detail: 'The desktop is shutting down.' },
  26: { detail: 'The desktop is restarting.', remedy: 'Connect again in a few minutes.' },
  256: { detail: 'The licensing of the desktop failed.', remedy: LICENSE_REMEDY },
  257: { detail: 'The desktop found no licence server.', remedy: LICENSE_REMEDY },
  258: { detail: 'The desktop has no licence left for this connection.', remedy: LICENSE_REMEDY },
  259: { detail: 'The desktop did not accept the licence message.', remedy: LICENSE_REMEDY },
  260: { detail: 'The stored licence belongs to another machine.', remedy: LICENSE_REMEDY },
  261: { detail: 'The stored licence is not valid.', remedy: LICENSE_REMEDY },
  262: { detail: 'The licence exchange could not be finished.', remedy: LICENSE_REMEDY },
  263: { detail: 'The licence exchange was ended early.', remedy: LICENSE_REMEDY },
  264: { detail: 'The licence message could not be decrypted.', remedy: LICENSE_REMEDY },
  265: { detail: 'The licence could not be upgraded.', remedy: LICENSE_REMEDY },
  266: {
    detail: 'The desktop is not licensed to accept remote connections.',
    remedy: 'This edition of the system has no Remote Desktop server, or its licence has run out.',
  },
  1024: { detail: 'The connection broker found no such desktop.', remedy: ASK_ADMINISTRATOR },
  1026: { detail: 'The connection broker is still loading the desktop.', remedy: 'Try again in a few minutes.' },
  1028: {
    detail: 'The connection broker sends the client to another desktop, which is refused.',
    remedy: 'Use the address of the desktop itself instead of the broker.',
  },
  1029: { detail: 'The connection broker could not wake the desktop.', remedy: ASK_ADMINISTRATOR },
  1030: { detail: 'The connection broker could not start the desktop.', remedy: ASK_ADMINISTRATOR },
  1031: { detail: 'The connection broker found no address of the desktop.', remedy: ASK_ADMINISTRATOR },
}

/** Error codes of a licensing error message. Spec: [MS-RDPBCGR] §2.2.1.12.1.3. 7 says that all is well. */
export const LICENSE_ERRORS: Readonly<Record<number, EndWords>> = {
  1: { detail: 'The licence server has a certificate that is not valid.', remedy: LICENSE_REMEDY },
  2: { detail: 'The desktop has no licence left for this connection.', remedy: LICENSE_REMEDY },
  3: { detail: 'The licence exchange failed its integrity check.', remedy: LICENSE_REMEDY },
  4: { detail: 'The licence is for another scope.', remedy: LICENSE_REMEDY },
  6: { detail: 'The desktop found no licence server.', remedy: LICENSE_REMEDY },
  8: { detail: 'The desktop did not accept the client for licensing.', remedy: LICENSE_REMEDY },
  11: { detail: 'The licence is for another product.', remedy: LICENSE_REMEDY },
  12: { detail: 'A licence message had a wrong length.', remedy: LICENSE_REMEDY },
}

/** The first protocol error that a server can find in a client (ERRINFO_UNKNOWNPDUTYPE2). */
const FIRST_PROTOCOL_ERROR = 0x10c9

/** Undefined for 0, which takes an earlier code back, and for codes that no document explains. */
export function wordsOfErrorInfo(errorInfo: number): EndWords | undefined {
  if (errorInfo >= FIRST_PROTOCOL_ERROR) {
    return { detail: `The desktop reported protocol error 0x${errorInfo.toString(16)}.`, remedy: ASK_ADMINISTRATOR }
  }
  return Object.hasOwn(ERROR_INFO, errorInfo) ? ERROR_INFO[errorInfo] : undefined
}

export function wordsOfLicenseError(errorCode: number): EndWords | undefined {
  return Object.hasOwn(LICENSE_ERRORS, errorCode) ? LICENSE_ERRORS[errorCode] : undefined
}
