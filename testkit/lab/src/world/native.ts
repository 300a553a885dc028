/**
 * The C programs of `native/`, compiled on first use. A binary is named after the
 * hash of its source, so a changed source is compiled anew and two processes that
 * compile at once make the same file.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { labError } from './errors.ts';

export type NativeProgram = 'netd' | 'enter' | 'udpload';

const SOURCES = join(import.meta.dirname, '../../native');
const CACHE = join(import.meta.dirname, '../../../../node_modules/.cache/claw-lab');
const FLAGS = ['-O2', '-std=gnu17', '-Wall', '-Wextra', '-lm'];

/** The binary's path. Throws LAB_PROGRAM_MISSING without a compiler, LAB_COMPILE_FAILED when it refuses. */
export function nativeProgram(name: NativeProgram): string {
  const source = join(SOURCES, `${name}.c`);
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const binary = join(CACHE, `${name}-${process.arch}-${hash}`);
  if (!existsSync(binary)) compile(source, binary);
  return binary;
}

function compile(source: string, binary: string): void {
  mkdirSync(CACHE, { recursive: true });
  const temporary = `${binary}.${process.pid}.tmp`;
  const result = spawnSync('gcc', ['-o', temporary, source, ...FLAGS], { encoding: 'utf8' });
  if (result.error) {
    const hint = 'Install the Debian package gcc with libc6-dev.';
    throw labError('LAB_PROGRAM_MISSING', `${source} needs gcc, which is not installed`, { cause: result.error, hint });
  }
  if (result.status !== 0) {
    rmSync(temporary, { force: true });
    throw labError('LAB_COMPILE_FAILED', `gcc refused ${source}: ${result.stderr.slice(0, 2000)}`);
  }
  renameSync(temporary, binary);
}
