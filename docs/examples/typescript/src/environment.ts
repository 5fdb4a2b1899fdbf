// What the programs here read from the environment.

export function needed(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set`);
  }
  return value;
}

export const server = process.env['TENTERHOOK_URL'] ?? 'http://127.0.0.1:8080';
