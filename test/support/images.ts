/**
 * The sandbox image of the tests. They ask what holds in any image and take the small
 * one, whatever the operator's default is.
 */
export const SLIM = 'pyexec/slim:latest';
