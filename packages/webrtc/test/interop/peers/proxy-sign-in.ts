/**
 * Signs a Chromium in at its HTTP proxy, as a person does in the window that asks for the password: sockets of WebRTC
 * never ask, but take what the profile knows by then.
 */

import type { Browser } from './browser.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Opens `url` through the proxy; whether anybody is there does not matter. */
export async function signInToProxy(browser: Browser, url: string, credentials: Credentials): Promise<void> {
  const page = await browser.newPage();
  page.onEvent((method, params) => {
    const { requestId } = params;
    if (method === 'Fetch.requestPaused') void page.send('Fetch.continueRequest', { requestId });
    if (method === 'Fetch.authRequired') {
      const authChallengeResponse = { response: 'ProvideCredentials', ...credentials };
      void page.send('Fetch.continueWithAuth', { requestId, authChallengeResponse });
    }
  });
  await page.send('Fetch.enable', { handleAuthRequests: true });
  await page.send('Page.navigate', { url });
  await page.close();
}
