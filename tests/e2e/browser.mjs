// The browser that pages are looked at with. TW_CHROMIUM names it (default /usr/bin/chromium).
import {chromium} from 'playwright-core';

export function launch() {
  return chromium.launch({
    executablePath: process.env.TW_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}
