import { expect, test } from 'vitest';
import { Emitter } from '../src/index.ts';

function createEmitter() {
  const errors: unknown[] = [];
  return { errors, emitter: new Emitter<{ word: string; count: number }>((error) => errors.push(error)) };
}

test('listeners hear their event in the order they came, until they unsubscribe', () => {
  const { emitter } = createEmitter();
  const heard: string[] = [];
  const off = emitter.on('word', (word) => heard.push(`a ${word}`));
  emitter.on('word', (word) => heard.push(`b ${word}`));
  emitter.on('count', (count) => heard.push(`n ${count}`));
  emitter.emit('word', 'one');
  off();
  off();
  emitter.emit('word', 'two');
  emitter.emit('count', 3);
  expect(heard).toEqual(['a one', 'b one', 'b two', 'n 3']);
});

test('a listener that throws is reported and the others hear', () => {
  const { emitter, errors } = createEmitter();
  const heard: string[] = [];
  emitter.on('word', () => {
    throw new Error('broken');
  });
  emitter.on('word', (word) => heard.push(word));
  emitter.emit('word', 'one');
  expect(heard).toEqual(['one']);
  expect(errors).toEqual([new Error('broken')]);
});

test('listeners added or removed while an event is told do not change who hears it', () => {
  const { emitter } = createEmitter();
  const heard: string[] = [];
  emitter.on('word', () => {
    heard.push('first');
    offSecond();
    emitter.on('word', () => heard.push('third'));
  });
  const offSecond = emitter.on('word', () => heard.push('second'));
  emitter.emit('word', 'x');
  expect(heard).toEqual(['first', 'second']);
});
