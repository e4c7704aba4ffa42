/** What a name is refused for. */
export type NameRule =
  | 'password'
  | 'username'
  | 'domain'
  | 'token'
  | 'private_key'
  | 'api_key'
  | 'secret'
  | 'credential'
  | 'authorization'
  | 'one_time_code'
  | 'connection_string'
  | 'password_hash'
  | 'key'

/**
 * Where in a name a word counts. Long words are never an accident; the shorter a word, the more must stand around it.
 *
 * - `anywhere`: any run of letters, whatever separators and case say.
 * - `within`: inside one word, or as whole words; not where it is made of the end of one word and the start of the next.
 * - `whole`: as a whole word, or where the letters fall into known words without rest.
 * - `alone`: where the letters fall into this word and qualifiers without rest.
 */
export type Reach = 'anywhere' | 'within' | 'whole' | 'alone'

type WordRow = { readonly rule: NameRule } & { readonly [reach in Reach]?: string }

/**
 * The words of credentials: lower-case ASCII letters and digits, as `foldName` leaves them. Plurals with `s` are found too.
 *
 * Other languages are those in which Windows names these fields in its dialogs, and the neighbours of those.
 */
export const CREDENTIAL_WORDS: readonly WordRow[] = [
  {
    rule: 'password',
    anywhere:
      'password pwd passwrd passwrod passowrd pasword passwort passwd passphrase passcode passkey paswd pswrd psswrd psswd pswd ' +
      'secretword watchword kennwort losungswort contrasena contrasenia motdepasse motpasse wachtwoord palavrapasse ' +
      'palabraclave adgangskode losenord salasana passord kodeord jelszo lozinka parool salasona matkhau codigodeacceso',
    within: 'pass psw senha heslo haslo parola lozink sifre geslo pincode pinnumber',
    whole: 'pw pwrd pword mdp pin pinno puk clave',
  },
  {
    rule: 'username',
    anywhere:
      'username usrname userid usernm samaccountname accountname loginname logonname benutzer anmeldename usuario ' +
      'utilisateur gebruiker utente utilizador kullanici uzivatel uzytkownik identifiant nomdeutilisateur brukernavn kasutaja',
    within: 'user usr login logon account acct principal uname samid',
    whole: 'uid upn unm runas signin signon konto cuenta compte samaccount',
  },
  { rule: 'domain', anywhere: 'domaene dominio dominium', within: 'domain domane', whole: 'dom realm workgroup' },
  {
    rule: 'token',
    anywhere: 'token cookie sessionkey phpsessid jsessionid connectsid samlassertion samlresponse sasurl sasuri jeton',
    within: 'jwt bearer oauth tkn sessionid sessid csrf xsrf webhookurl',
    whole: 'jwe jws sas pat tgt krbtgt ccache sessionguid',
  },
  {
    rule: 'private_key',
    anywhere:
      'privatekey privkey privatepem privateexponent sshkey rsakey dsakey ecdsakey ed25519key pgpkey gpgkey pkcs8 pkcs12 ' +
      'keytab keystore keymaterial identityfile pemkey keypem tlskey sslkey certkey certificatekey hostprivate clientkey ' +
      'serverprivate secretring secring rsapriv sshpriv',
    within: 'idrsa iddsa idecdsa ided25519 pfx',
    whole: 'p12 ppk pem jks pkey privk ssh2key privpem privates',
  },
  {
    rule: 'api_key',
    anywhere:
      'apikey accesskey accountkey secretkey subscriptionkey sharedkey presharedkey sharedaccess encryptionkey encryptkey ' +
      'decryptionkey decryptkey masterkey signingkey signkey hmackey symmetrickey authkey servicekey storagekey ' +
      'deploykey wrappingkey cryptokey cipherkey securitykey integrationkey consumerkey applicationkey developerkey ' +
      'recoverykey bitlockerkey networkkey snmpcommunity communitystring kerberoskey krbkey kerberosticket krbticket goldenticket aeskey adminkey rootkey ' +
      'restkey writekey readkey partnerkey instrumentationkey',
    within: 'wpakey wepkey',
    whole: 'psk wpapsk appkey kek dek datakey deskey usrkey',
  },
  {
    rule: 'secret',
    anywhere: 'secret secrt geheimnis geheim segreto segredo sekret salaisuus clientscrt',
    within: 'scrt',
    whole: 'clientsec',
  },
  {
    rule: 'credential',
    anywhere: 'credential zugangsdaten anmeldedaten identifiants credenziali crdntl logininfo',
    within: 'cred',
  },
  {
    rule: 'authorization',
    anywhere: 'authorization authorisation authheader authinfo authdata authcode authstring authfile authpw basicauth',
    whole: 'auth authz xauth authn htauth autorisation netrc pgpass',
  },
  {
    rule: 'one_time_code',
    anywhere:
      'onetimecode recoverycode backupcode verificationcode activationcode unlockcode accesscode securitycode resetcode ' +
      'seedphrase recoveryphrase mnemonicphrase securityanswer securityquestion mfaseed otpseed totpseed authenticatorseed ' +
      'twofactorcode twofactorseed mfacode otpauth',
    within: 'totp',
    whole: 'otp hotp mfa 2fa tfa twofa twofactor mnemonic',
  },
  {
    rule: 'connection_string',
    anywhere:
      'connectionstring connectionstr connstring connectstring connstr cnxstring connectionurl connectionuri conninfo ' +
      'datasourcename databaseurl databaseuri jdbcurl jdbcuri odbcurl mongourl mongouri mongodburl mongodburi redisurl ' +
      'redisuri postgresurl postgresuri postgresqlurl pgurl mysqlurl mysqluri mssqlurl amqpurl rabbitmqurl brokerurl ' +
      'verbindungszeichenfolge',
    whole: 'dsn jdbc odbc dburl dburi dbconn sqlconn sqlconnection dbconnection databaseconnection connectstr',
  },
  { rule: 'password_hash', anywhere: 'nthash lmhash ntlmhash ntlmv2', whole: 'ntlm rc4hmac kirbi ntowf lmowf' },
  { rule: 'key', alone: 'key' },
]

/**
 * Words that say whose credential it is, or in what form: they never make a name harmless. They let short words be found
 * in names without separators.
 */
export const QUALIFIERS: readonly string[] = (
  'rdp vnc ssh telnet db database sql mysql mssql postgres postgresql pg oracle redis mongo mongodb ldap ad krb kerberos smb cifs ftp ' +
  'sftp smtp imap pop3 radius tacacs cosmos http https api app application web rest admin administrator adm root sudo su svc onetime srv service ' +
  'services sys system local remote target host server client guest default my our the new old current curr prev previous ' +
  'former next last first backup master main test dev prod production stage staging demo lab win windows linux unix mac ' +
  'os gw gateway proxy vpn wifi wlan jump bastion console desktop pc vm machine device computer node worker enc encr encrypted ' +
  'decrypted hashed plain plaintext clear cleartext raw base64 b64 hex hash text txt str string value val ' +
  'data info field input file path env var json xml yaml code bind connect connection conn access auth refresh session sess ' +
  'secure security temp tmp temporary shared initial init startup boot bios ipmi ilo idrac bmc snmp smart card smartcard aws ' +
  'azure gcp google github gitlab slack docker k8s kube vault jenkins git ntlm basic digest proxy nt lm net network domain ' +
  'primary secondary hint salt salted reset change confirm confirmation repeat retype verify again entry form body ' +
  'config cfg settings options opts params props attr attrs meta metadata extra custom legacy internal external ' +
  'name full short long real ruby standby derby x'
).split(' ')

/**
 * What a name tells *about* a credential, when nothing but such words and units follows the credential word: a rule, a
 * number or a state, never the credential.
 */
export const ATTRIBUTES: readonly string[] = (
  'policy policies count counts limit limits timeout timeouts ttl lifetime length required mandatory enabled disabled ' +
  'expiry expiration expires expired rotation rotated complexity strength attempts retries banner mode method methods type ' +
  'types level functional joined allowed supported bucket buckets quota quotas interval protocol scheme lockout threshold ' +
  'status state changed rate age format persecond perminute perhour perday perhost pernode perserver peruser persession total'
).split(' ')

/** Units and small words that may stand around an attribute. */
export const UNITS: readonly string[] = (
  'max min maximum minimum default current size sizes at in on per after before until the of and day days hour hours minute ' +
  'minutes min mins second seconds sec secs ms month months week weeks bytes bits chars characters percent last text trust ' +
  'warning name refill capacity'
).split(' ')

/** Before a plural these make it a number: `max_users`. */
export const QUANTITIES: readonly string[] = 'max min maximum minimum numberof total count concurrent'.split(' ')

/**
 * Words and phrases that hold the letters of a credential word and are none; `*` stands for any ending. A credential word is
 * excused where it lies wholly inside one of these; letters that reach out of it are not: `compassword` is refused although
 * `compass` is here. A phrase excuses nothing where credential words and qualifiers alone explain the whole name.
 */
export const HARMLESS: readonly string[] = [
  // pass
  'passive* passivit* passion* passeng* passage* passover* passport* passthrough* passthru* passed passing passer passers passerby ' +
    'passable passbook* passband* passfail compass* encompass* bypass* impass* surpass* unsurpass* trespass* overpass* ' +
    'underpass* multipass* lowpass* highpass* bandpass* compassion* dispassion* renderpass* upswing*',
  // pin
  'certificatepin* certpin* publickeypin* spkipin* tlspin* sslpin* keypin* pinsha* fingerprintpin* sha256pin* shapin* gpiopin* publickeypem* pinned* pinning* pinout* spinning* shipping* mapping* opinion*',
  // user, login, account, principal
  'useragent* userexperience userinterface* userguide* usermanual* userspace userland userfriendly userlanguage* userlocale* ' +
    'usertimezone* usergroup usergroups userfeedback userbase userfacing userdefined usergenerated multiuser trouser* abuser* accuser* ' +
    'carouser* confuser* diffuser* infuser* cataloging catalogindex* loginterval* analoginput* loginpage* loginscreen* loginurl loginprompt* ' +
    'loginmessage* logonscreen* logonmessage* logonhours logonerror* accounting* accountant* accountanc* accountab* ' +
    'unaccount* accounted accountmanager accountexecutive accountteam principally principalit* principalengineer* guid* uuid*',
  // domain
  'domaincontroller* domainjoin* domainfunctional* domainmode random* kingdom* trustdomain* failuredomain* faultdomain* availabilitydomain* broadcastdomain* collisiondomain* publicdomain ' +
    'subdomain* odbcdriver* jdbcdriver* domainmember domainmembership domainless crossdomain multidomain dominion* condominium*',
  // token, cookie, bearer, oauth, sas
  'tokeniz* tokenis* tokenring tokenendpoint* tokenurl tokenissuer tokenaudience betoken* cookieconsent* pallbearer* forbearer* ' +
    'coauthor* sass sessionidle* pocketkni*',
  // secret
  'secretref secretversion secretar* undersecretar* secrete secreted secretes secreting secretion* secretive* secretly',
  // credential
  'credssp credentialguard* credit* accredit* discredit* credib* incredib* credul* incredul* credence credenza* credo credos sacred* ' +
    'massacred promptforcredential* promptcredential* enablecredssp*',
  // authorization
  'networklevelauth* authent* author*',
]
  .join(' ')
  .split(' ')
