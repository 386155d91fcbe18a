/**
 * What a program said about itself beside its output. It may say anything.
 */

/** The exception that ended the program, as it said itself. */
export interface ProgramException {
  readonly type: string;
  /** str() of it. */
  readonly message: string;
  /** The innermost file of the project in the traceback, relative to it, and the line there. */
  readonly file?: string;
  readonly line?: number;
  /** The frames of the project's own files alone, then type and message. */
  readonly traceback: string;
}

/** Field names are wire names. */
export interface ProgramReport {
  readonly error_type?: string;
  readonly error_line?: number;
  readonly exception?: ProgramException;
  /** repr() of the program's last expression, when it was asked for and is not None. */
  readonly result?: string;
}
