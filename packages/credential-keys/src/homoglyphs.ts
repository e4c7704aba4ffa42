/**
 * Letters that are drawn like a Latin one, after NFKD and in lower case (the idea of Unicode TR39 §4). One letter can pass
 * for several; it stands at the one it is used for most.
 */
const LOOKALIKES: Readonly<Record<string, string>> = {
  a: 'аαɑᴀⱥ',
  ae: 'æ',
  b: 'ьвβʙƀɓ',
  c: 'сςϲᴄⲥȼƈ',
  d: 'ԁɗᴅđðɖ',
  e: 'еєεɛҽᴇəɇ',
  f: 'ϝꜰƒ',
  g: 'ɡɢԍցǥɠ',
  h: 'һнհʜηħɦ',
  i: 'іιıɩɪɨ',
  j: 'јϳʝᴊɉȷ',
  k: 'кκĸᴋⲕƙ',
  l: 'ӏłǀʟɫɭƚ',
  m: 'мμᴍɱ',
  n: 'пոռɴŋɲƞ',
  o: 'оοօøσᴏⲟɔɵ',
  oe: 'œ',
  p: 'рρᴘⲣþƥ',
  q: 'ԛգզɋ',
  r: 'гʀᴦⲅяɍɽ',
  s: 'ѕꜱʂƽȿ',
  ss: 'ß',
  t: 'тτŧᴛⲧƭʈ',
  u: 'υսᴜʋʉ',
  v: 'νѵᴠ',
  w: 'ѡωԝшɯᴡⱳ',
  x: 'хχⲭ',
  y: 'уγүʏɏƴ',
  z: 'ʐᴢȥζƶⱬ',
}

/** The ASCII letters that each of these letters is read as. */
export const LATIN_OF: ReadonlyMap<string, string> = new Map(
  Object.entries(LOOKALIKES).flatMap(([latin, letters]) => [...letters].map(letter => [letter, latin] as const)),
)
