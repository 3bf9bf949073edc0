/** Errors shaped as node:fs gives them, for the simulated disks. */

const TEXTS: Readonly<Record<string, string>> = {
  EBADF: 'bad file descriptor',
  EDQUOT: 'disk quota exceeded',
  EEXIST: 'file already exists',
  EIO: 'i/o error',
  EISDIR: 'illegal operation on a directory',
  EMFILE: 'too many open files',
  ENFILE: 'file table overflow',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'not a directory',
  ENOTEMPTY: 'directory not empty',
  EPERM: 'operation not permitted',
  EROFS: 'read-only file system',
  EXDEV: 'cross-device link not permitted',
}

export function systemError(code: string, call: string, path: string): Error {
  const message = `${code}: ${TEXTS[code] ?? 'unknown error'}, ${call} '${path}'`
  return Object.assign(new Error(message), { code, syscall: call, path })
}
