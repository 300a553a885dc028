import { expect, test } from 'vitest';
import { ClawError, errorCode, errorText, isClawError } from '../src/index.ts';

test('a ClawError carries code, message, cause and hint', () => {
  const cause = new Error('deeper');
  const error = new ClawError('A_CODE', 'it broke', { cause, hint: 'Try again.' });
  expect(error).toMatchObject({ name: 'ClawError', code: 'A_CODE', message: 'it broke', cause, hint: 'Try again.' });
  expect('cause' in new ClawError('A_CODE', 'it broke')).toBe(false);
});

test('isClawError tells by class and by code', () => {
  const error: unknown = new ClawError('A_CODE', 'it broke');
  expect(isClawError(error)).toBe(true);
  expect(isClawError(error, 'B_CODE', 'A_CODE')).toBe(true);
  expect(isClawError(error, 'B_CODE')).toBe(false);
  expect(isClawError(Object.assign(new Error(), { code: 'A_CODE' }))).toBe(false);
});

test('code and text can be had of anything thrown', () => {
  expect(errorCode(Object.assign(new Error('x'), { code: 'ENOENT' }))).toBe('ENOENT');
  expect(errorCode(Object.assign(new Error('x'), { code: 5 }))).toBe('INTERNAL');
  expect(errorCode('text')).toBe('INTERNAL');
  expect(errorText(new Error('x'))).toBe('x');
  expect(errorText(undefined)).toBe('undefined');
});
