/** Imports a package from this folder's node_modules, which the laboratory's own files cannot see. */
export const load = (specifier) => import(specifier);
