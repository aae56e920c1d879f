#include "decode.h"

/* model_info has no members, so it has no struct and no table. */
FIELD_TABLE(decode_piece, DECODE_PIECE)
FIELD_TABLE(decode_generate, DECODE_GENERATE)
FIELD_TABLE(decode_accepted, DECODE_ACCEPTED)
FIELD_TABLE(decode_cancel, DECODE_CANCEL)
FIELD_TABLE(decode_cancelled, DECODE_CANCELLED)
FIELD_TABLE(decode_replay, DECODE_REPLAY)
FIELD_TABLE(decode_replayed, DECODE_REPLAYED)
FIELD_TABLE(decode_ack, DECODE_ACK)
FIELD_TABLE(decode_acked, DECODE_ACKED)
FIELD_TABLE(decode_tokenize, DECODE_TOKENIZE)
FIELD_TABLE(decode_tokens, DECODE_TOKENS)
FIELD_TABLE(decode_detokenize, DECODE_DETOKENIZE)
FIELD_TABLE(decode_text, DECODE_TEXT)
FIELD_TABLE(decode_model_info_is, DECODE_MODEL_INFO_IS)
FIELD_TABLE(decode_step, DECODE_STEP)
FIELD_TABLE(decode_status, DECODE_STATUS)
