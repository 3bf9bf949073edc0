// Goal: the page of guarantees names a test for all that it promises, and each of them is there.
// Method: every row but those of what is not given has links to test files, whose texts are the
// names of tests in them.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'

const PAGE = 'src/cluster/GUARANTEES.md'
const NOT_GIVEN = '## What is not given'
const TEST_LINK = /\[([^\]]+)\]\(([^)]+\.test\.ts)\)/g

interface TestLink {
  readonly name: string
  readonly path: string
}

function linksIn(text: string): TestLink[] {
  return [...text.matchAll(TEST_LINK)].map(([, name = '', path = '']) => {
    return { name, path: join(dirname(PAGE), path) }
  })
}

/** What is wrong with the page, a line each. */
function problems(page: string, readTest: (path: string) => string | undefined): string[] {
  const found: string[] = []
  for (const { name, path } of linksIn(page)) {
    const source = readTest(path)
    if (source === undefined) found.push(`${path} is not there`)
    else if (!["'", '`'].some(quote => source.includes(`${quote}${name}${quote}`))) {
      found.push(`${path} has no test '${name}'`)
    }
  }
  const [given = ''] = page.split(NOT_GIVEN)
  for (const row of given
    .split('\n')
    .filter(line => /^\| (?!setting|operation|event)/.test(line))) {
    if (linksIn(row).length === 0) found.push(`no test for: ${row}`)
  }
  return found
}

describe('the guarantees', () => {
  const page = readFileSync(PAGE, 'utf8')
  const readTest = (path: string): string | undefined =>
    existsSync(path) ? readFileSync(path, 'utf8') : undefined

  test('are each proved by a test that there is', () => {
    assert.deepEqual(problems(page, readTest), [])
    assert.ok(linksIn(page).length > 40)
    assert.ok(page.includes(NOT_GIVEN))
  })

  test('are found without one, or with one that is gone', () => {
    const row = '| a | b | [c](../../test/x.test.ts) |'
    assert.deepEqual(
      problems(row, () => `test('c', f)`),
      [],
    )
    assert.deepEqual(
      problems(row, () => `test('cc', f)`),
      [`test/x.test.ts has no test 'c'`],
    )
    assert.deepEqual(
      problems(row, () => undefined),
      ['test/x.test.ts is not there'],
    )
    assert.deepEqual(
      problems('| a | b | c |', () => ''),
      ['no test for: | a | b | c |'],
    )
  })
})
