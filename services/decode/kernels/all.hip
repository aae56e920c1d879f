/* Every kernel, as one program per device. */
#include "gpu.h"
#include "quantise.hip"
#include "gemv.hip"
#include "gemm.hip"
#ifdef TARGET_SM90
#include "gemm_wgmma.h"
#endif
#include "rotary.hip"
#include "attention.hip"
#include "attention_rows.hip"
#include "head.hip"
/* With attention in it this takes more registers than gfx11 and gfx12 have: it would spill. */
#ifndef __AMDGCN__
#include "exchange.hip"
#include "whole_product.hip"
#include "whole_attention.hip"
#include "whole.hip"
#endif
#include "top.hip"
#include "copy.hip"
#include "measure.hip"
