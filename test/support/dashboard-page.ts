/**
 * The dashboard in a headless browser, watched for what it must not do: complain in its console, or
 * ask anybody but its own server.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { projectUrl } from './project-root.ts'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]
/** Not kept by git; what a run of the tests has seen. */
const SCREENSHOTS = fileURLToPath(projectUrl('test/output/dashboard/'))
const WAIT_MS_MAX = 30_000

const executablePath = PLACES.find(path => existsSync(path))

/** Why there is no browser, for `skip`; false where there is one. */
export const NO_BROWSER: string | false =
  executablePath === undefined &&
  'no Chromium is installed (apt-get install chromium): the dashboard is not looked at'

export interface PageOptions {
  readonly width?: number
  readonly height?: number
  readonly colorScheme?: 'light' | 'dark'
}

export class DashboardPage {
  readonly page: Page
  /** Complaints in the console, exceptions, and requests to others. */
  readonly problems: string[] = []
  readonly #origin: string

  private constructor(page: Page, url: string) {
    this.page = page
    this.#origin = new URL(url).origin
    page.setDefaultTimeout(WAIT_MS_MAX)
    page.on('console', message => {
      if (message.type() !== 'log') this.problems.push(`${message.type()}: ${message.text()}`)
    })
    page.on('pageerror', error => this.problems.push(`exception: ${error.stack ?? error.message}`))
    page.on('request', request => {
      if (new URL(request.url()).origin !== this.#origin) {
        this.problems.push(`asked for ${request.url()}`)
      }
    })
  }

  /** Resolves once the page has figures. `prepare` sees it before it is loaded. */
  static async open(
    browser: Browser,
    url: string,
    { width = 1440, height = 900, colorScheme = 'light' }: PageOptions = {},
    prepare?: (page: Page) => Promise<void>,
  ): Promise<DashboardPage> {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme })
    const opened = new DashboardPage(await context.newPage(), url)
    await prepare?.(opened.page)
    await opened.page.goto(url)
    await opened.page.locator('[data-contact=live]').waitFor()
    return opened
  }

  /** Looks for keys, opens the one that is shown as `key`; resolves once its replicas are there. */
  async openKey(prefix: string, key: string): Promise<void> {
    const { page } = this
    await page.getByLabel('Keys that begin with').fill(prefix)
    await page.getByRole('button', { name: 'Find keys' }).click()
    await page.locator('.keys-list').getByRole('button', { name: key, exact: true }).click()
    await page.locator('.verdict').waitFor()
    await page.locator('.key-detail pre').waitFor()
  }

  /** All of the page, in a picture. */
  async screenshot(name: string): Promise<void> {
    mkdirSync(SCREENSHOTS, { recursive: true })
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true })
  }
}

/** Requires that there is one: see NO_BROWSER. */
export function launchBrowser(): Promise<Browser> {
  // Whoever runs tests in a container is often root, for whom Chromium has no sandbox.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath: executablePath!, args })
}
