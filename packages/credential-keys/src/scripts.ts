import type { NameRule } from './words.ts'

/** Words of credentials in scripts other than Latin, found anywhere in a name. */
const WORDS: Readonly<Partial<Record<NameRule, string>>> = {
  password:
    'парол пасворд гасло лозинка шифра κωδικός συνθηματικό 密码 密碼 口令 パスワード パスフレーズ 暗証番号 ' +
    '비밀번호 암호 كلمةالمرور كلمةالسر סיסמה סיסמא รหัสผ่าน पासवर्ड',
  username:
    'логин логін пользовател користувач потребител корисник учетнаязапис χρήστης χρήστη 用户 用戶 使用者 账号 帐号 帳號 账户 帳戶 ' +
    'ユーザー ユーザ名 利用者 사용자 아이디 계정 المستخدم משתמש ชื่อผู้ใช้ उपयोगकर्ता',
  domain: 'домен домейн τομέας 域名 域帐号 ドメイン 도메인 النطاق',
  token: 'токен 令牌 トークン 토큰',
  private_key: 'закрытыйключ приватныйключ 私钥 私鑰 秘密鍵 개인키',
  api_key: 'ключapi 密钥 密鑰 金鑰',
  secret: 'секрет таємниця тайна μυστικό 秘密 機密 비밀 סוד',
  credential: 'учетн обліковідані διαπιστευτήρια 凭据 凭证 憑證 認証情報 資格情報 자격증명',
}

const ENTRIES: readonly (readonly [string, NameRule])[] = Object.entries(WORDS).flatMap(([rule, words]) =>
  words.split(' ').map(word => [plain(word), rule as NameRule] as const),
)

/** The rule of a credential word of another script in the name. */
export function foreignWordIn(name: string): NameRule | undefined {
  const text = plain(name)
  return ENTRIES.find(([word]) => text.includes(word))?.[1]
}

/** Letters alone, without case and marks, so that spaces and accents hide nothing. */
function plain(text: string): string {
  return text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^\p{L}]/gu, '')
    .replaceAll('ς', 'σ')
}
