/** Forms of secrets that are known by their look, each with the word for it in a message. */
const shapes: readonly (readonly [string, RegExp])[] = [
  ['a PEM block', /-----BEGIN [A-Z0-9 ]/],
  ['a private key', /AGE-SECRET-KEY-1|PuTTY-User-Key-File|"private_key"\s*:/],
  ['an AWS key', /\b(AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}\b/],
  ['a Google key', /\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20}/],
  ['an Azure key', /(AccountKey|SharedAccessKey|SharedAccessSignature)\s*=/i],
  ['a GitHub token', /\bgh[pousr]_[A-Za-z0-9]{20}|\bgithub_pat_[A-Za-z0-9_]{20}/],
  ['a GitLab token', /\bgl(pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{20}/],
  ['a Slack token', /\bxox[abeoprs]-|\bxapp-\d|hooks\.slack\.com\/services\//],
  ['a Stripe key', /\b[rs]k_(live|test)_[0-9A-Za-z]{10}|\bwhsec_[0-9A-Za-z+/]{10}/],
  ['a registry token', /\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_-]{20}|\bdckr_pat_[\w-]{20}/],
  [
    'an access token',
    /\bSG\.[\w-]{16,}\.[\w-]{16,}|\bhv[sb]\.[\w-]{20}|\bdop_v1_[0-9a-f]{40}|\bsk-[A-Za-z0-9_-]{20}/,
  ],
  ['a JWT', /\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]*/],
  ['an address with a password', /:\/\/[^/\s:@]*:[^/\s@]+@/],
  ['a connection string with a password', /(^|[;&?\s,])(password|passwd|pwd)\s*=\s*[^;&\s]/i],
  ['an address with a token', /[?&](access_token|token|api_?key|sig|signature|secret)=[^&\s]{6}/i],
  ['an Authorization header', /^(Basic|Bearer|Token)\s+[A-Za-z0-9+/._~-]{8,}=*$/i],
]

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** What secret a text looks like, or undefined when it looks like none. */
export function secretShape(text: string): string | undefined {
  const known = shapes.find(([, form]) => form.test(text))
  if (known !== undefined) return known[0]
  const parts = text.match(/[A-Za-z0-9+/_=-]{20,}/g) ?? []
  return parts.some((part) => isRandom(part)) ? 'a random key' : undefined
}

/**
 * Text that a program drew at random: at least 20 characters of letters and digits, which change between
 * capitals, small letters and digits as words and paths never do; or 32 hexadecimal ones.
 */
function isRandom(part: string): boolean {
  if (uuid.test(part) || !/[0-9]/.test(part) || !/[A-Za-z]/.test(part)) return false
  if (/^[0-9a-f]{32,}$/i.test(part)) return entropy(part) >= 3
  return changes(part) >= 0.25 && !isOfWords(part) && entropy(part) >= 3.5
}

/** Whether most of it are words written together, each with a capital. */
function isOfWords(text: string): boolean {
  const words = text.match(/[A-Z][a-z]{2,}/g) ?? []
  return words.join('').length > 0.6 * text.length
}

/** How many of the steps from one character to the next lead to another kind of character, 0 to 1. */
function changes(text: string): number {
  const kinds = text.replace(/[a-z]/g, 'a').replace(/[A-Z]/g, 'A').replace(/[0-9]/g, '0')
  const runs = kinds.match(/(.)\1*/g) ?? []
  return (runs.length - 1) / (text.length - 1)
}

/** Shannon's, in bits a character. */
function entropy(text: string): number {
  const counts = new Map<string, number>()
  for (const one of text) counts.set(one, (counts.get(one) ?? 0) + 1)
  return [...counts.values()].reduce((sum, count) => {
    const share = count / text.length
    return sum - share * Math.log2(share)
  }, 0)
}
