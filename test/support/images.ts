/**
 * The sandbox images of the set-up. Most tests ask what holds in any image and take
 * the small one, whatever the operator's default is.
 */
export const SLIM = 'pyexec/slim:latest';
export const DATA = 'pyexec/data:latest';
