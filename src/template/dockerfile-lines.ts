import { DockerfileParser } from 'dockerfile-ast'
import { refuseLine, type LogicalLine } from './dockerfile-fault.ts'

const maxBytes = 32 * 1024
const continued = /\\[ \t]*$/
const directive = /^[ \t]*#[ \t]*(syntax|escape|check)[ \t]*=/i

/**
 * Splits a Dockerfile into instructions. Refused is what one reader may take for something else:
 * anything but printable ASCII with plain line ends, parser directives, here-documents, an
 * instruction that ends in the middle of a line. Two parsers must agree on where each one begins.
 */
export function splitDockerfile(text: string, file: string): LogicalLine[] {
  requirePlainText(text, file)
  const found = joinLines(text.split('\n'), file)
  const document = DockerfileParser.parse(text)
  const other = document.getInstructions().map((instruction) => ({
    line: instruction.getRange().start.line + 1,
    keyword: instruction.getKeyword(),
  }))
  const differs = found.find(
    ({ keyword, line }, index) => other[index]?.line !== line || other[index].keyword !== keyword,
  )
  if (
    document.getDirectives().length > 0 ||
    differs !== undefined ||
    other.length !== found.length
  ) {
    throw refuseLine(
      { file, line: differs?.line ?? 1 },
      'this can be read in more than one way',
      'write one instruction a line, continued only by a backslash at the end of a line',
    )
  }
  return found
}

function requirePlainText(text: string, file: string): void {
  if (text.length > maxBytes) {
    throw refuseLine({ file, line: 1 }, `longer than ${maxBytes} bytes`, 'keep a Dockerfile short')
  }
  const at = text.search(/[^\n\t\u0020-\u007e]/)
  if (at !== -1) {
    const code = (text.codePointAt(at) ?? 0).toString(16).toUpperCase().padStart(4, '0')
    throw refuseLine(
      { file, line: text.slice(0, at).split('\n').length },
      `the character U+${code} is not allowed`,
      'use printable ASCII, with line feeds alone as line ends and no byte order mark',
    )
  }
  const lines = text.split('\n')
  const directed = lines.findIndex((line) => directive.test(line))
  if (directed !== -1) {
    throw refuseLine(
      { file, line: directed + 1 },
      'parser directives are not allowed: they let another program read this file',
      'remove the line',
    )
  }
}

/** Docker's own rule: comments and empty lines inside an instruction vanish, the rest is joined as it is. */
function joinLines(lines: readonly string[], file: string): LogicalLine[] {
  const found: LogicalLine[] = []
  let open: { line: number; text: string } | null = null
  for (const [index, line] of lines.entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    open ??= { line: index + 1, text: '' }
    open.text += (open.text === '' ? line.trimStart() : line).replace(continued, '')
    if (continued.test(line)) continue
    found.push(instructionOf(open.line, open.text))
    open = null
  }
  if (open !== null) {
    throw refuseLine(
      { file, line: open.line },
      'the last instruction ends in a backslash',
      'remove the backslash, or write the line that it promises',
    )
  }
  return found
}

function instructionOf(line: number, text: string): LogicalLine {
  const keyword = /^\S*/.exec(text)?.[0] ?? ''
  return { line, keyword: keyword.toUpperCase(), rest: text.slice(keyword.length).trim() }
}
