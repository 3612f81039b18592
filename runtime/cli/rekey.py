"""`perdure rekey`: seals with the current key whatever is sealed with an older one, or not at all."""

from __future__ import annotations

from typing import Final

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Reading, UsageError
from perdure.runtime.cli.render import counted
from perdure.runtime.cli.session import open_session, run_async
from perdure.runtime.keys import keys_of
from perdure.store.errors import PerdureError
from perdure.store.scripts.sealing import Place, Reseal, Resealed

READING = Reading()
ROWS_MAX: Final = 2_000  # of one commit: others write in between


def rekey(*, options: Reading = READING) -> int:
    """Encrypt what the database holds with the first of the keys in force, while it is in use.

    What was sealed with an older key is sealed anew, and so is what was written before there were
    keys. When it is done the older keys are needed no more, except for backups.
    """
    session = open_session(options)
    session.check_database()
    keys = keys_of(session.settings.keys)
    if keys is None:
        raise UsageError("rekey: there are no keys: set PERDURE_KEYS to file:PATH or env:NAME")

    async def main() -> int:
        store = session.store(must_exist=True)
        await store.open()
        done, place, is_done = 0, Place(), False
        try:
            while not is_done:
                [answer] = await store.commit([Reseal(keys=keys, limit=ROWS_MAX, place=place)])
                if isinstance(answer, PerdureError):
                    raise answer
                assert isinstance(answer, Resealed)
                done, place, is_done = done + answer.rows, answer.place, answer.is_done
        finally:
            await store.close()
        if session.out.format != "table":
            session.out.json({"key": keys.current, "sealed": done})
            return Exit.DONE
        word = session.out.done()
        session.out.write(
            f"{word}  {counted(done, 'payload')} sealed anew, all with the key {keys.current}\n"
        )
        return Exit.DONE

    return run_async(main)
