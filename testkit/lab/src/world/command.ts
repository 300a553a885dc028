/** Runs the tools of iproute2 and nftables, with their words in the error when they fail. */

import { type ChildProcess, spawn } from 'node:child_process';
import { labError } from './errors.ts';

/** Resolves with what the tool printed. Throws LAB_COMMAND_FAILED. */
export function runCommand(program: string, args: readonly string[], input = ''): Promise<string> {
  return finished(spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] }), `${program} ${args.join(' ')}`, input);
}

/** Resolves with what a child with pipes printed, once it ended well. */
export function finished(child: ChildProcess, title: string, input: string | Uint8Array = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    let complaint = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    child.once('error', (cause) => reject(labError('LAB_COMMAND_FAILED', `${title}: ${cause.message}`, { cause })));
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(output);
      reject(labError('LAB_COMMAND_FAILED', `${title} ended with ${code ?? signal}: ${complaint.trim()}`));
    });
    // A tool that ends before it read everything says so by its status.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
