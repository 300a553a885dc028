export { type EditOptions, editSettings } from './edit.ts';
export { SETTINGS_FILE, type SettingsErrorCode } from './errors.ts';
export type { JsonValue } from './json5.ts';
export { type LoadedSettings, loadSettings, readSettings } from './load.ts';
export type { Service, Settings } from './schema.ts';
export type { Edit } from './splice.ts';
