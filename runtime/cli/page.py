"""What `perdure --help` prints, ready-made: it costs no import."""

from __future__ import annotations

from typing import Final

PAGE: Final = """\
perdure – durable workflows that survive a crash

  perdure run review.yaml -i filePath=app.py --agents agents.py:agents
  perdure pause @last
  perdure resume @last
  perdure history --last 7d --status failed

Run
  run FILE            run a workflow file, here and now; Ctrl-C pauses it durably
  pick                choose at the terminal what to start, or to go on with; no ids needed
  worker              run everything in the database that can be performed here, until stopped

Control
  pause ID            come to rest: steps in flight finish (or --interrupt them), nothing new starts
  resume ID           go on from the log; recorded steps never run again
  cancel ID           stop for good
  rollback ID         stop, and undo what it has done, last things first
  retry ID            reopen a failed or cancelled execution: what failed runs again
  fork ID             start a new execution that shares its past; --from a step or checkpoint
  signal ID NAME      send a named message to an execution
  approve ID STEP     approve a step that asks for it
  reject ID STEP      reject it
  checkpoint ID       name the current position of its log; show, diff, prune: what it was, what may go

Look
  list                the newest executions
  status ID           one execution: its state, its steps
  approvals           what waits for people's approval
  history             executions of a period, with durations and errors
  search WORD…        workflows and ended executions that have all these words
  stats               how workflows, steps and retries have fared, and the most frequent errors
  events ID           its log; --follow for what comes
  items ID STEP       what has become of the items of a step with forEach
  webhooks            what was told to whom; repeat ID: once more
  checkpoints ID      its checkpoints, newest first

Schedule
  schedule            what starts by itself: add, list, show, next, history, pause, resume,
                      trigger, backfill, rm

Author
  validate FILE…      every problem at once, with line and column
  describe FILE       what it takes and gives back
  graph FILE          levels and dependencies
  plan FILE           what it would do, take and cost
  publish FILE…       make workflows known by their names, without starting any
  versions NAME       a workflow's versions, and the executions of each
  activate NAME V     let the name stand for that version
  deactivate NAME     let nothing start by that name
  diff NAME V1 V2     what differs between two versions
  agents              the agents that --agents brings
  config              the settings in force and where each comes from

Keep
  backup FILE         copy the database while it is in use
  restore-db FILE     put a backup in its place; what was there is kept
  prune               delete what ended long ago (a worker does it after 90 days: `retention`)
  migrate             bring the schema up to date; --dry-run tries, --print shows; with an ID and --to V:
                      let an execution go on as one of another version
  import FILE         take over the history that an earlier system has left; a FOLDER of them, too
  rekey               encrypt what it holds with the current key
  doctor              what is damaged or stuck, and what to do about it
  runners             the processes that share the database, and what each of them has
  completion SHELL    what bash, zsh or fish need to complete all this

ID is an execution's id, a unique beginning of it, @last, or NAME@last.
perdure COMMAND --help tells a command's options; docs/cli.md has the exit codes.
"""
