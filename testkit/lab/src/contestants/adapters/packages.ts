/** Packages of the contestants' own folder, and the versions of packages as installed. */

import { readFile } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';

/** `testkit/lab/contestants`. */
export const CONTESTANTS_FOLDER = new URL('../../../contestants/', import.meta.url);
const CONTESTANTS_MANIFEST = new URL('package.json', CONTESTANTS_FOLDER);

/** Imports a package that was installed on demand. The caller says what of it is used. */
export async function loadInstalled<T>(specifier: string): Promise<T> {
  const { load } = (await import(new URL('load.mjs', CONTESTANTS_FOLDER).href)) as {
    load: (specifier: string) => Promise<T>;
  };
  return load(specifier);
}

/** `werift 0.25.2`, of a package installed on demand or, with `own`, of the repository. */
export async function packageVersion(name: string, own = false): Promise<string> {
  const file = findPackageJSON(name, own ? import.meta.url : CONTESTANTS_MANIFEST);
  if (file === undefined) throw new Error(`${name} is not installed`);
  const { version } = JSON.parse(await readFile(file, 'utf8')) as { version: string };
  return `${name} ${version}`;
}
